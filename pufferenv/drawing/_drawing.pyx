# cython: language_level=3, wraparound=False
"""Display lists of envs, and pictures of them. Documented in _drawing.pyi."""

import os
import threading
from collections import namedtuple

import numpy as np

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.string cimport memcpy
from posix.dlfcn cimport RTLD_LOCAL, RTLD_NOW, dlclose, dlerror, dlopen, dlsym

from pufferenv.contract.spec cimport PUF_ABI, PufField

from pufferenv.engine._engine import Field

from pufferenv.drawing.font import read_font

cdef extern from "pufferenv/contract/drawing.h" nogil:
    enum:
        PUF_OP_END, PUF_MOST_WORDS
    ctypedef union PufWord:
        uint32_t u
        float f
    ctypedef struct PufCanvas:
        PufWord *words
        uint32_t count, room, lost
        int32_t agent
        float *view
        const uint8_t *alive
        const void *shared
    ctypedef struct PufImage:
        uint8_t *pixels
        int32_t width, height, channels
        size_t row_stride, pixel_stride, channel_stride
    ctypedef struct PufPainter:
        int (*raster)(const PufWord *words, uint32_t count, const float *view,
                      const PufImage *image) noexcept nogil
    ctypedef struct PufKeyBinding:
        const char *action
        const char *keys
        const char *label
        double choice
    ctypedef struct PufDrawing:
        uint32_t abi, config_size, num_keys
        const char *name
        const char *source
        const PufKeyBinding *keys
        double (*pace)(const void *config) noexcept nogil
        void (*view)(const void *config, float *view) noexcept nogil
        void (*draw)(const void *env, PufCanvas *canvas) noexcept nogil
    int puf_view_is_legal(const float *view) noexcept

cdef extern from "pufferenv/drawing/raster.h" nogil:
    enum:
        PUF_MOST_SIDE
        PUF_GLYPHS
    ctypedef struct PufGlyph:
        int32_t x
    ctypedef struct PufFont:
        const uint8_t *distances
        int32_t width, height
        float em, reach
        PufGlyph *glyphs
    int puf_set_font(const PufFont *font) noexcept nogil
    int puf_raster(const PufWord *words, uint32_t count, const float *view,
                   const PufImage *image) noexcept nogil

cdef extern from "pufferenv/drawing/list.h" nogil:
    ctypedef struct PufShown:
        const PufWord *words
        uint32_t count
        float *view
    int puf_check_command(const PufWord *w, uint32_t left) noexcept
    int puf_interpolate(const PufShown *base, const PufShown *other, float part, PufWord *words,
                        float *view) noexcept
    int32_t puf_agent_at(const PufWord *words, uint32_t count, float x, float y,
                         float reach) noexcept
    int puf_outline(const PufWord *words, uint32_t count, int32_t agent, float *outline) noexcept

cdef extern from *:
    """
    #define ROW_(T, f, init_, min_, max_, doc_) \\
        {.name = #f, .doc = doc_, .init = init_, .min = min_, .max = max_},
    static const PufField PIXEL_FIELDS_[] = {PUF_PIXEL_FIELDS(ROW_)};
    enum { NUM_PIXEL_FIELDS_ = sizeof(PIXEL_FIELDS_) / sizeof(PIXEL_FIELDS_[0]) };
    #undef ROW_
    """
    const PufField *PIXEL_FIELDS_
    enum:
        NUM_PIXEL_FIELDS_

MOST_SIDE = PUF_MOST_SIDE
MOST_WORDS = PUF_MOST_WORDS
cdef PufPainter painter
painter.raster = puf_raster

cdef PufFont font
cdef object atlas = None  # keeps the font's memory


cdef int set_font() except -1:
    """Give the rasterizer the font of this package."""
    global atlas
    read = read_font()
    atlas = read.distances
    font.distances = <const uint8_t *><size_t>read.distances.ctypes.data
    font.height, font.width = read.distances.shape
    font.em, font.reach = read.em, read.reach
    cdef size_t glyphs = read.glyphs.ctypes.data
    if read.glyphs.nbytes != PUF_GLYPHS * sizeof(PufGlyph):
        raise ImportError("font.bin is of another version than this module: run build.py")
    memcpy(font.glyphs, <const void *>glyphs, PUF_GLYPHS * sizeof(PufGlyph))
    if puf_set_font(&font):
        raise ImportError("font.bin is not valid: run docs/make_font.py")
    return 0


set_font()

PIXEL_FIELDS = tuple([
    Field(PIXEL_FIELDS_[k].name.decode(), PIXEL_FIELDS_[k].doc.decode(), np.dtype(np.int32),
          int(PIXEL_FIELDS_[k].init), int(PIXEL_FIELDS_[k].min), int(PIXEL_FIELDS_[k].max))
    for k in range(NUM_PIXEL_FIELDS_)
])

KeyBinding = namedtuple("KeyBinding", "action choice keys label")


class DisplayListError(RuntimeError):
    """A game draws something that cannot be shown: too much, or at no finite place."""


cdef str seen_by(env, agent):
    return f"env {env}" if agent < 0 else f"env {env}, agent {agent}"


cdef class DisplayList:
    """The shapes of one env and the part of the world that they show."""

    cdef readonly object words
    cdef readonly tuple view

    def __init__(self, words, view):
        self.words = np.ascontiguousarray(words, np.uint32)
        self.view = tuple(map(float, view))
        if self.words.ndim != 1 or not 1 <= len(self.words) <= MOST_WORDS:
            raise ValueError(f"words of shape {self.words.shape} must be (n,), 1 <= n <= {MOST_WORDS}")
        if len(self.view) != 4 or not (self.view[2] > 0 and self.view[3] > 0):
            raise ValueError(f"view={view} must be x, y, width and height, both above 0")

    def raster(self, image):
        """Draw into a uint8 array (H, W, C) with 1, 3 or 4 channels."""
        cdef const uint32_t[::1] words = self.words
        cdef PufImage target = image_of(image)
        cdef float[4] view
        cdef int k, status
        cdef uint32_t count = self._count()
        for k in range(4):
            view[k] = self.view[k]
        with nogil:
            status = puf_raster(<const PufWord *>&words[0], count, view, &target)
        if status:
            shape = wrong_shape(<const PufWord *>&words[0], count)
            raise DisplayListError(f"the list has {shape or 'a view'} {NOT_FINITE}")

    cdef uint32_t _count(self):
        """Return the number of words without the END."""
        return len(self.words) - (self.words[len(self.words) - 1] == PUF_OP_END)

    cdef PufShown _shown(self):
        cdef const uint32_t[::1] words = self.words
        cdef PufShown shown
        shown.words, shown.count = <const PufWord *>&words[0], self._count()
        for k in range(4):
            shown.view[k] = self.view[k]
        return shown

    def interpolated(self, later, double t):
        """Return what is seen between this list and that of the next step. Documented in the pyi."""
        if not isinstance(later, DisplayList):
            raise TypeError(f"later={later!r} must be a DisplayList")
        if not 0 <= t <= 1:
            raise ValueError(f"t={t} must be from 0, this list, to 1, the later one")
        cdef DisplayList base = self if t < 0.5 else later, other = later if t < 0.5 else self
        cdef float part = t if t < 0.5 else 1 - t
        cdef PufShown base_shown = base._shown(), other_shown = other._shown()
        words = np.zeros(len(base.words), np.uint32)
        cdef uint32_t[::1] written = words
        cdef float[4] view
        cdef int status
        with nogil:
            status = puf_interpolate(&base_shown, &other_shown, part, <PufWord *>&written[0], view)
        if status:
            raise DisplayListError("a list has a shape that is not legal, or there is no memory")
        return DisplayList(words, (view[0], view[1], view[2], view[3]))

    def agent_at(self, double x, double y, double reach=0):
        """Return the agent whose shapes are topmost at a place in the world; -1: none."""
        cdef PufShown shown = self._shown()
        return puf_agent_at(shown.words, shown.count, x, y, reach)

    def outline(self, int agent):
        """Return (x, y, width, height) around the shapes of an agent; None if it has none."""
        cdef PufShown shown = self._shown()
        cdef float[4] found
        if agent < 0 or not puf_outline(shown.words, shown.count, agent, found):
            return None
        return found[0], found[1], found[2], found[3]


NOT_FINITE = "with a place that is not finite, or a size that is not finite or below 0"
SHAPES = ("", "puf_key", "puf_agent", "puf_round", "puf_disc", "puf_ring", "puf_path", "puf_fill",
          "puf_text")


cdef str wrong_shape(const PufWord *words, uint32_t count):
    """Return the first command that is not valid as a call with its first numbers; "": none."""
    cdef uint32_t at = 0, size, k
    while at < count and words[at].u & 255 != PUF_OP_END:
        size = words[at].u >> 8
        if puf_check_command(words + at, count - at):
            op = words[at].u & 255
            name = SHAPES[op] if op < len(SHAPES) else f"command {op}"
            numbers = [f"{words[at + k].f:g}" for k in range(2, min(size, count - at, 8))]
            return f"{name}({', '.join(numbers[:3] if name == 'puf_text' else numbers)})"
        at += size
    return ""


cdef PufImage image_of(image) except *:
    """Describe a uint8 array (H, W, C)."""
    cdef PufImage target
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
        raise TypeError("the image must be a uint8 array of 3 dimensions: height, width, channels")
    height, width, channels = image.shape
    if not (1 <= height <= PUF_MOST_SIDE and 1 <= width <= PUF_MOST_SIDE):
        raise ValueError(f"a picture of {width} x {height} pixels: each side must be in "
                         f"[1, {PUF_MOST_SIDE}]")
    if channels not in (1, 3, 4):
        raise ValueError(f"a picture with {channels} channels: 1 is grey, 3 RGB and 4 RGBA")
    if not image.flags.writeable or min(image.strides) <= 0:
        raise ValueError("the image must be writable and have positive strides")
    target.pixels = <uint8_t *><size_t>image.ctypes.data
    target.height, target.width, target.channels = height, width, channels
    target.row_stride, target.pixel_stride, target.channel_stride = image.strides
    return target


cdef class Drawing:
    """How a game draws itself: its drawing object, which stays loaded. Documented in _drawing.pyi."""

    cdef const PufDrawing *drawing
    cdef PufWord *buffer
    cdef object memory, lock  # of the buffer
    cdef uint32_t room
    cdef readonly str path, name, source
    cdef readonly tuple keys

    def __init__(self, path):
        self.path = os.path.abspath(os.fspath(path))
        self.lock = threading.Lock()
        cdef bytes encoded = os.fsencode(self.path)
        cdef void *handle = dlopen(encoded, RTLD_NOW | RTLD_LOCAL)
        if handle == NULL:
            raise ImportError(f"cannot load {self.path}: {dlerror().decode()}", path=self.path)
        self.drawing = <const PufDrawing *>dlsym(handle, b"puf_drawing")
        cdef const PufPainter **linked = <const PufPainter **>dlsym(handle, b"puf_painter")
        if self.drawing == NULL or linked == NULL:
            dlclose(handle)
            raise ImportError(f"{self.path} is not a drawing object: it has no puf_drawing",
                              path=self.path)
        if self.drawing.abi != PUF_ABI:
            abi = self.drawing.abi
            dlclose(handle)
            raise ImportError(f"{self.path} was built for ABI {abi}, this engine has ABI {PUF_ABI}: "
                              "build the game again", path=self.path)
        linked[0] = &painter
        self.name, self.source = self.drawing.name.decode(), self.drawing.source.decode()
        keys = []
        cdef uint32_t k
        for k in range(self.drawing.num_keys):
            row = self.drawing.keys[k]
            keys.append(KeyBinding(row.action.decode(), row.choice, row.keys.decode(),
                                   row.label.decode()))
        self.keys = tuple(keys)
        self._grow(16384)

    cdef _grow(self, uint32_t room):
        self.memory = np.zeros(room, np.uint32)
        self.buffer = <PufWord *><size_t>self.memory.ctypes.data
        self.room = room

    cdef const char *_config(self, bytes config) except NULL:
        if len(config) < self.drawing.config_size:
            raise ValueError(f"config has {len(config)} bytes, {self.name} has "
                             f"{self.drawing.config_size}: pass what pack() returned")
        return config

    def pace(self, bytes config):
        """Return the steps per second at which a person watches."""
        pace = self.drawing.pace(self._config(config))
        if not 0 < pace < float("inf"):
            raise DisplayListError(f"{self.name}: PUF_PACE is {pace:g} steps per second, and must "
                                   "be above 0")
        return pace

    def view(self, bytes config):
        """Return (x, y, width, height) of the world."""
        cdef float[4] view
        self.drawing.view(self._config(config), view)
        if not puf_view_is_legal(view):
            raise DisplayListError(f"{self.name}: PUF_VIEW is {view[2]:g}, {view[3]:g}; width and "
                                   "height must be above 0")
        return view[0], view[1], view[2], view[3]

    cdef PufCanvas _list(self, engine, int env, int agent, bytes config) except *:
        """Draw one env into the buffer, which grows as needed."""
        cdef PufCanvas canvas
        cdef const void *state = <const void *><size_t>engine.env_address(env)
        cdef const char *packed = self._config(config)
        if not -1 <= agent < engine.env_agents:
            raise ValueError(f"agent {agent} is not in [-1, {engine.env_agents}): an env of "
                             f"{self.name} has {engine.env_agents} agents, and -1 is everybody")
        if engine.game.source != self.source:
            raise DisplayListError(
                f"{self.path} was built from another version of the header than the running env: "
                "make the env again")
        canvas.alive = <const uint8_t *><size_t>engine.alive_address(env)
        canvas.shared = <const void *><size_t>engine.shared_address
        canvas.words, canvas.room = self.buffer, self.room
        while True:
            canvas.agent, canvas.count, canvas.lost = agent, 0, 0
            self.drawing.view(packed, canvas.view)
            self.drawing.draw(state, &canvas)
            if canvas.lost == 0:
                break
            if canvas.room + canvas.lost > MOST_WORDS:
                raise DisplayListError(f"{self.name} draws a list of more than {MOST_WORDS} words: "
                                       f"{seen_by(env, agent)}")
            self._grow(canvas.room + canvas.lost + 1024)
            canvas.words, canvas.room = self.buffer, self.room
        if not puf_view_is_legal(canvas.view):
            x, y, width, height = canvas.view[0], canvas.view[1], canvas.view[2], canvas.view[3]
            raise DisplayListError(
                f"{self.name} shows an area of {width:g} x {height:g} at {x:g}, {y:g}: puf_look "
                f"needs finite numbers, and sizes above 0: {seen_by(env, agent)}")
        return canvas

    def draw(self, engine, int env, bytes config, int agent=-1):
        """Return the DisplayList of one env as `agent` sees it; -1: as everybody does."""
        cdef PufCanvas canvas
        with self.lock:
            canvas = self._list(engine, env, agent, config)
            words = self.memory[:canvas.count + 1].copy()
        view = (canvas.view[0], canvas.view[1], canvas.view[2], canvas.view[3])
        return DisplayList(words, view)

    def render(self, engine, envs, bytes config, images, agents=None):
        """Draw envs (n,) into uint8 images (n, H, W, C), each as its agent of `agents` sees it."""
        with self.lock:
            for k, env in enumerate(envs):
                self._render(engine, env, -1 if agents is None else agents[k], config, images[k])

    cdef _render(self, engine, int env, int agent, bytes config, image):
        """Draw one env into an image (H, W, C)."""
        cdef PufImage target = image_of(image)
        cdef PufCanvas canvas = self._list(engine, env, agent, config)
        cdef int status
        with nogil:
            status = puf_raster(canvas.words, canvas.count, canvas.view, &target)
        if status:
            shape = wrong_shape(canvas.words, canvas.count)
            raise DisplayListError(
                f"{self.name} draws {shape} {NOT_FINITE}: {seen_by(env, canvas.agent)}")
