# Bindings of the kernels of recurrent layers: lstm.h, mingru.h, state.h.

cdef extern from "lstm.h" nogil:
    ctypedef struct PufLSTM:
        int64_t num_rows, size
        PufMatrix gates, cell, next_cell
        PufOperand out, next_hidden
        const float *bias
        const float *keep
    ctypedef struct PufLSTMBackward:
        int64_t num_rows, size
        PufMatrix gates, cell, grad_out, grad_hidden, grad_cell
        PufOperand grad_gates
        const float *keep
        float *grad_bias

cdef extern from "mingru.h" nogil:
    ctypedef struct PufMinGRU:
        int64_t num_rows, horizon, size
        float *gates
        const float *bias
        const float *keep
        PufMatrix state, hidden
        PufOperand x, out
    ctypedef struct PufMinGRUBackward:
        int64_t num_rows, horizon, size
        const float *gates
        const float *keep
        PufMatrix state
        const float *hidden
        const float *grad_out
        float *grad_state
        PufOperand grad_gates
        float *grad_bias

cdef extern from "state.h" nogil:
    ctypedef struct PufTransposeRows:
        int64_t num_rows, num_steps, size
        const float *from_ "from"
        float *out
    ctypedef struct PufNotReset:
        int64_t num_rows, num_steps
        const uint8_t *reset
        float *out
        int steps_first
    ctypedef struct PufMaskState:
        int64_t num_rows, size
        PufMatrix state
        const float *keep
        PufOperand out
    ctypedef struct PufInitStates:
        int64_t num_acting, num_agents, num_rows, horizon, size, first
        const int32_t *agents
        const uint8_t *life_start
        const int64_t *slot
        const float *initial
        PufMatrix state
        float *row_state


cdef int64_t LSTM = find_kernel(b"lstm"), LSTM_BACKWARD = find_kernel(b"lstm_backward")
cdef int64_t MINGRU = find_kernel(b"mingru"), MINGRU_BACKWARD = find_kernel(b"mingru_backward")
cdef int64_t TRANSPOSE_ROWS = find_kernel(b"transpose_rows"), NOT_RESET = find_kernel(b"not_reset")
cdef int64_t MASK_STATE = find_kernel(b"mask_state"), INIT_STATES = find_kernel(b"init_states")


def lstm(*, gates, bias, cell, keep=None, out, next_cell, next_hidden=None, Graph graph=None):
    """Compute one LSTM step from its products. Of matrices, only the rows must be contiguous.

    gates        (B, 4 * D) in: products without bias; out: input, forget, output gate, cell candidate
    bias         (4 * D,) in the same order
    cell         (B, D)
    keep         (B,) 0 where a life begins after this step, else 1; None: 1
    out          (B, D) operand, out: hidden state
    next_cell    (B, D) out: cell * keep; may be the cell
    next_hidden  (B, D) operand, out: hidden state * keep; or None

    The error of the gates is below 4e-7, that of tanh of the cell below 2e-7.
    """
    cdef PufLSTM p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("cell", cell), size = length("cell", cell, 1)
    p.num_rows, p.size, p.keep = n, size, NULL
    p.next_hidden.data, p.next_hidden.is_bf16 = NULL, 0
    p.gates = a.matrix("gates", gates, n, 4 * size, True)
    p.bias = <const float *>a.array("bias", bias, F32, 4 * size)
    p.cell = a.matrix("cell", cell, n, size)
    p.out = a.operand("out", out, n, size, True)
    p.next_cell = a.matrix("next_cell", next_cell, n, size, True)
    if next_hidden is not None:
        p.next_hidden = a.operand("next_hidden", next_hidden, n, size, True)
    if keep is not None:
        p.keep = <const float *>a.array("keep", keep, F32, n)
    call_or_record(LSTM, &p, sizeof(p), a, graph)


def lstm_backward(
    *, gates, cell, keep=None, grad_out, grad_hidden, grad_cell, grad_gates, grad_bias,
    Graph graph=None,
):
    """Compute the gradients of one LSTM step. Of matrices, only the rows must be contiguous.

    gates        (B, 4 * D) as `lstm` leaves them
    cell         (B, D) before the step
    keep         (B,) as given to `lstm`
    grad_out     (B, D)
    grad_hidden  (B, D) of next_hidden
    grad_cell    (B, D) in: of next_cell; out: of cell
    grad_gates   (B, 4 * D) operand, out: of the products
    grad_bias    (4 * D,) accumulated
    """
    cdef PufLSTMBackward p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("cell", cell), size = length("cell", cell, 1)
    p.num_rows, p.size, p.keep = n, size, NULL
    p.gates = a.matrix("gates", gates, n, 4 * size)
    p.cell = a.matrix("cell", cell, n, size)
    p.grad_out = a.matrix("grad_out", grad_out, n, size)
    p.grad_hidden = a.matrix("grad_hidden", grad_hidden, n, size)
    p.grad_cell = a.matrix("grad_cell", grad_cell, n, size, True)
    p.grad_gates = a.operand("grad_gates", grad_gates, n, 4 * size, True)
    p.grad_bias = <float *>a.array("grad_bias", grad_bias, F32, 4 * size, -1, True)
    if keep is not None:
        p.keep = <const float *>a.array("keep", keep, F32, n)
    call_or_record(LSTM_BACKWARD, &p, sizeof(p), a, graph)


def mingru(*, gates, bias, keep=None, x, state, hidden, out, Graph graph=None):
    """Compute all steps of a minGRU layer from its product. The error of the gates is below 2e-7.

    gates   (B, H, 2 * D) in: product without bias; out: gate and candidate
    bias    (2 * D,)
    keep    (B, H) 0 where a life begins with this step, else 1; None: 1
    x       (B, H, D) operand
    state   (B, D) before the first step, contiguous rows
    hidden  (B, H, D) out; contiguous in the last dimension, with a constant stride between steps
    out     (B, H, D) operand, out: x + hidden; may be x
    """
    cdef PufMinGRU p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("x", x), horizon = length("x", x, 1), size = length("x", x, 2)
    cdef int64_t steps = n * horizon
    p.num_rows, p.horizon, p.size, p.keep = n, horizon, size, NULL
    p.gates = <float *>a.array("gates", gates, F32, steps, 2 * size, True, True)
    p.bias = <const float *>a.array("bias", bias, F32, 2 * size)
    p.x = a.operand("x", x, steps, size, False, True)
    p.state = a.matrix("state", state, n, size)
    p.hidden = a.sequence("hidden", hidden, n, horizon, size)
    p.out = a.operand("out", out, steps, size, True, True)
    if keep is not None:
        p.keep = <const float *>a.array("keep", keep, F32, steps, -1, False, True)
    call_or_record(MINGRU, &p, sizeof(p), a, graph)


def mingru_backward(
    *, gates, keep, state, hidden, grad_out, grad_state, grad_gates, grad_bias, Graph graph=None,
):
    """Compute the gradients of all steps of a minGRU layer.

    gates       (B, H, 2 * D) as `mingru` leaves them
    keep        (B, H)
    state       (B, D), contiguous rows
    hidden      (B, H, D)
    grad_out    (B, H, D)
    grad_state  (B, D) in: 0; out: of state
    grad_gates  (B, H, 2 * D) operand, out: of the product; may be the gates
    grad_bias   (2 * D,) accumulated
    """
    cdef PufMinGRUBackward p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("hidden", hidden), horizon = length("hidden", hidden, 1)
    cdef int64_t size = length("hidden", hidden, 2), steps = n * horizon
    p.num_rows, p.horizon, p.size = n, horizon, size
    p.gates = <const float *>a.array("gates", gates, F32, steps, 2 * size, False, True)
    p.keep = <const float *>a.array("keep", keep, F32, steps, -1, False, True)
    p.state = a.matrix("state", state, n, size)
    p.hidden = <const float *>a.array("hidden", hidden, F32, steps, size, False, True)
    p.grad_out = <const float *>a.array("grad_out", grad_out, F32, steps, size, False, True)
    p.grad_state = <float *>a.array("grad_state", grad_state, F32, n, size, True)
    p.grad_gates = a.operand("grad_gates", grad_gates, steps, 2 * size, True, True)
    p.grad_bias = <float *>a.array("grad_bias", grad_bias, F32, 2 * size, -1, True)
    call_or_record(MINGRU_BACKWARD, &p, sizeof(p), a, graph)


def transpose_rows(*, rows, out, Graph graph=None):
    """Copy rows (B, H, D) to out (H, B, D), the order in which an LSTM processes a minibatch."""
    cdef PufTransposeRows p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("rows", rows), steps = length("rows", rows, 1)
    p.num_rows, p.num_steps, p.size = n, steps, length("rows", rows, 2)
    p.from_ = <const float *>a.array("rows", rows, F32, n * steps, p.size, False, True)
    if tuple(out.shape) != (steps, n, p.size):
        raise ValueError(f"out: expected shape {(steps, n, p.size)}, got {tuple(out.shape)}")
    p.out = <float *>a.array("out", out, F32, n * steps, p.size, True, True)
    call_or_record(TRANSPOSE_ROWS, &p, sizeof(p), a, graph)


def not_reset(*, reset, out, bint steps_first=False, Graph graph=None):
    """Write 0 where a life begins, else 1.

    reset  (B, H) bool: a life begins with this step
    out    (B, H) out, or (H, B) if `steps_first`
    """
    cdef PufNotReset p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("reset", reset), steps = length("reset", reset, 1)
    p.num_rows, p.num_steps, p.steps_first = n, steps, steps_first
    p.reset = <const uint8_t *>a.array("reset", reset, U8, n, steps)
    n, steps = (steps, n) if steps_first else (n, steps)
    p.out = <float *>a.array("out", out, F32, n, steps, True)
    call_or_record(NOT_RESET, &p, sizeof(p), a, graph)


def mask_state(*, state, keep, out, Graph graph=None):
    """Copy the states before the first step, with 0 where a life begins at that step.

    state  (B, D), contiguous rows
    keep   (B,) 0 where a life begins, else 1
    out    (B, D) operand, out, contiguous rows
    """
    cdef PufMaskState p
    cdef Arrays a = Arrays()
    p.num_rows, p.size = length("state", state), length("state", state, 1)
    p.state = a.matrix("state", state, p.num_rows, p.size)
    p.keep = <const float *>a.array("keep", keep, F32, p.num_rows)
    p.out = a.operand("out", out, p.num_rows, p.size, True)
    call_or_record(MASK_STATE, &p, sizeof(p), a, graph)


def init_states(
    *, state, agents=None, int64_t first=0, life_start, slot, initial, row_state, int64_t horizon,
):
    """Set the states of agents whose life begins to the initial state.

    If an agent is at slot 0 of its row, `row_state` gets a copy, from which training unrolls the
    row. S is the size of a state.

    state       (N, S) of the agents that act, in and out, contiguous rows
    agents      (N,) int32, or None: agents [first, first + N)
    life_start  (A,) bool: a life begins
    slot        (A,) int64: the slot of each agent's current observation
    initial     (S,)
    row_state   (R, S) out
    """
    cdef PufInitStates p
    cdef Arrays a = Arrays()
    cdef int64_t n = length("state", state)
    if horizon < 1:
        raise ValueError(f"horizon={horizon}: a row has at least one slot")
    p.num_acting, p.num_agents, p.num_rows = n, length("slot", slot), length("row_state", row_state)
    p.horizon, p.size, p.first, p.agents = horizon, length("initial", initial), first, NULL
    if agents is not None:
        p.agents = <const int32_t *>a.array("agents", agents, I32, n)
    p.life_start = <const uint8_t *>a.array("life_start", life_start, U8, p.num_agents)
    p.slot = <const int64_t *>a.array("slot", slot, I64, p.num_agents)
    p.initial = <const float *>a.array("initial", initial, F32, p.size)
    p.state = a.matrix("state", state, n, p.size, True)
    p.row_state = <float *>a.array("row_state", row_state, F32, p.num_rows, p.size, True)
    call_or_record(INIT_STATES, &p, sizeof(p), a, None)
