# A loaded game: what its object file declares, and its shapes under a config.

Field = namedtuple("Field", "name doc dtype default min max")
Head = namedtuple("Head", "name doc n")
Axis = namedtuple("Axis", "name doc low high")
Shapes = namedtuple("Shapes", "num_agents obs_shape heads axes")


cdef class Game:
    """A loaded game. Its object file stays loaded, because envs may outlive this object.

    `table`: the address of a PufSpec to use instead of a file; the subclass keeps it alive.
    `header`: the header that the file was built from, if that is known.
    """

    cdef const PufSpec *spec
    cdef readonly str path, name, doc, source
    cdef readonly bint debug, has_mask, draws
    cdef readonly object obs_dtype
    cdef readonly tuple config_fields, log_fields
    cdef readonly object header

    def __init__(self, path, size_t table=0, header=None):
        self.header = header
        self.path = os.path.abspath(os.fspath(path)) if table == 0 else str(path)
        self.spec = <const PufSpec *>table if table else self._load()
        self._describe()

    cdef const PufSpec *_load(self) except NULL:
        cdef bytes encoded = os.fsencode(self.path)
        cdef void *handle = dlopen(encoded, RTLD_NOW | RTLD_LOCAL)
        if handle == NULL:
            raise ImportError(f"cannot load {self.path}: {dlerror().decode()}", path=self.path)
        cdef const PufSpec *spec = <const PufSpec *>dlsym(handle, b"puf_spec")
        if spec == NULL:
            dlclose(handle)
            raise ImportError(f"{self.path} is not a game: it has no symbol puf_spec",
                              path=self.path)
        if spec.abi != PUF_ABI:
            abi = spec.abi
            dlclose(handle)
            raise ImportError(f"{self.path} was built for ABI {abi}, this engine has ABI {PUF_ABI}: "
                              "build the game again", path=self.path)
        cdef const char *lacks = puf_cpu_lacks(spec.cpu_needs)
        if lacks != NULL:
            name = spec.name.decode()
            dlclose(handle)
            raise ImportError(f"{self.path} was built for a CPU with {lacks.decode()}, which this CPU "
                              f"lacks: run `python build.py {name}` here, or set PUFFER_ISA=baseline "
                              "and run it", path=self.path)
        return spec

    cdef _describe(self):
        cdef uint32_t k
        self.name, self.doc = self.spec.name.decode(), self.spec.doc.decode()
        self.source = self.spec.source.decode() if self.spec.source != NULL else ""
        self.debug, self.has_mask = self.spec.debug, self.spec.has_mask
        self.draws = self.spec.draws
        self.obs_dtype = DTYPES[self.spec.obs_dtype]
        fields, log = [], []
        for k in range(self.spec.num_config):
            fields.append(describe(&self.spec.config[k]))
        for k in range(self.spec.num_log):
            log.append((self.spec.log[k].name.decode(), self.spec.log[k].doc.decode()))
        self.config_fields, self.log_fields = tuple(fields), tuple(log)

    def pack(self, config):
        """Return the game's struct Config with these values: checked, and every field given."""
        cdef uint32_t k
        cdef bytearray packed = bytearray(self.spec.config_size)
        for k, field in enumerate(self.config_fields):
            value = np.asarray(config[field.name], dtype=field.dtype).tobytes()
            offset = self.spec.config[k].offset
            packed[offset:offset + len(value)] = value
        return bytes(packed)

    def shapes(self, bytes config):
        """Return agents of one env, shape of one observation, heads and axes under `config`."""
        if len(config) != self.spec.config_size:
            raise ValueError(f"config has {len(config)} bytes, {self.name} has "
                             f"{self.spec.config_size}: pass what pack() returned")
        cdef const char *packed = config
        cdef int32_t[PUF_MAX_DIMS] dims
        cdef PufHead[PUF_MAX_HEADS] heads
        cdef PufAxis[PUF_MAX_AXES] axes
        cdef int k
        cdef int ndim = self.spec.obs_shape(packed, dims)
        cdef int num_heads = self.spec.heads(packed, heads), num_axes = self.spec.axes(packed, axes)
        return Shapes(
            self.spec.num_agents(packed),
            tuple([dims[k] for k in range(ndim)]),
            tuple([Head(heads[k].name.decode(), heads[k].doc.decode(), heads[k].n)
                   for k in range(num_heads)]),
            tuple([Axis(axes[k].name.decode(), axes[k].doc.decode(), axes[k].low, axes[k].high)
                   for k in range(num_axes)]),
        )

    def open(self, bytes config, int num_envs, **options):
        """Make the envs and return their Engine."""
        return Engine(self, config, num_envs, **options)

    def __reduce__(self):
        return Game, (self.path, 0, self.header)

    def __repr__(self):
        return f"Game({self.path!r})"


cdef describe(const PufField *field):
    dtype = DTYPES[field.dtype]
    kind = float if dtype.kind == "f" else int
    return Field(field.name.decode(), field.doc.decode(), dtype, kind(field.init), kind(field.min),
                 kind(field.max))
