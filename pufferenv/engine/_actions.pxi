# Engine.set_actions: checks the actions that a caller gives and copies them.

cdef width_error(Engine engine, str name, int width, given):
    """Return the message for actions that are missing, or given to a game that takes none."""
    have = "nothing" if given is None else f"{type(given).__name__}"
    return f"{name}: {engine.game.name} takes {width} per agent, and {have} was given"


cdef copy_actions(Engine engine, given, str name, int width, str kind):
    """Check integers ("i") or floats ("f") of shape (A, width) and copy them to the engine."""
    cdef Py_buffer buffer
    cdef int64_t bad = -1
    # Any integers and floats are taken; C reads 4 or 8 bytes of the machine's byte order.
    array = np.ascontiguousarray(given)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    shapes = {(engine.num_agents, width)} | ({(engine.num_agents,)} if width == 1 else set())
    if array.dtype.kind == "u" and kind == "i" or array.dtype.kind == kind == "i" and \
            array.dtype.itemsize < 4:
        array = array.astype(np.int64)
    if array.shape not in shapes or array.dtype.kind != kind or array.dtype.itemsize not in (4, 8):
        legal = " or ".join(str(shape) for shape in sorted(shapes))
        raise ValueError(f"{name} has shape {array.shape} and dtype {array.dtype}; it must be {legal} "
                         f"and {'int32 or int64' if kind == 'i' else 'float32 or float64'}")
    PyObject_GetBuffer(array, &buffer, PyBUF_SIMPLE)
    try:
        engine._enter()
        if kind == "i":
            bad = puf_engine_set_discrete_actions(&engine.engine, buffer.buf, <int>buffer.itemsize)
        else:
            bad = puf_engine_set_continuous_actions(&engine.engine, buffer.buf, <int>buffer.itemsize)
        engine.busy = False
    finally:
        PyBuffer_Release(&buffer)
    if bad >= 0:
        value = np.asarray(given).reshape(-1)[bad]
        agent, head = divmod(bad, width)
        if kind == "i":
            which = engine.engine.heads[head]
            raise ValueError(f"actions[{agent}]: {which.name.decode()}={value} is outside "
                             f"[0, {which.n - 1}]: {which.doc.decode()}")
        raise ValueError(f"axes[{agent}]: {engine.engine.axes[head].name.decode()}={value} is not a number")
