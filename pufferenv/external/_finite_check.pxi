# A check of the floats in observations, which keeps NaN and infinities from reaching the engine.

cdef enum:
    EXPONENT = 0x7f800000  # of a float32; all of these bits are set in a NaN or an infinity


cdef class FiniteCheck:
    """Finds a NaN or an infinity in slots of a Packing."""

    cdef list parts
    cdef Py_ssize_t[:, ::1] ranges  # (floating parts, 2) first byte, number of floats

    def __init__(self, observations):
        self.parts = [part for part in observations.parts if part.dtype.kind == "f"]
        self.ranges = np.array(
            [[part.offset, part.num_bytes // 4] for part in self.parts], np.intp).reshape(-1, 2)

    @cython.boundscheck(False)
    cdef Py_ssize_t bad_part(self, const char *slot):
        """Return the first part with a NaN or an infinity; -1: none."""
        cdef Py_ssize_t p, k, count
        cdef const uint32_t *bits
        cdef uint32_t bad
        for p in range(self.ranges.shape[0]):
            bits, count, bad = <const uint32_t *>(slot + self.ranges[p, 0]), self.ranges[p, 1], 0
            for k in range(count):  # without a branch, so that the compiler vectorizes it
                bad |= (bits[k] & EXPONENT) == EXPONENT
            if bad:
                return p
        return -1

    cdef int check_slot(self, const char *slot) except -1:
        cdef Py_ssize_t k = 0, p = self.bad_part(slot)
        if p < 0:
            return 0
        values, part = <const float *>(slot + self.ranges[p, 0]), self.parts[p]
        while isfinite(values[k]):
            k += 1
        index = [int(n) for n in np.unravel_index(k, part.shape or (1,))]
        raise ValueError(
            f"{part.spelled} is {values[k]} at {index}: every value must be finite as float32")

    def check(self, uint8_t[:, ::1] slots, int64_t index):
        self.check_slot(<const char *>&slots[index, 0])

    def first_bad(self, uint8_t[:, ::1] slots):
        cdef int64_t i
        for i in range(slots.shape[0]):
            if self.bad_part(<const char *>&slots[i, 0]) >= 0:
                return i
        return -1
