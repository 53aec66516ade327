// text_draw - writes texts in all formats that puf_text knows, and in some that it does not.
#define PUF_NAME "text_draw"
#define PUF_DOC "Writes texts in all formats."
#define PUF_VIEW(c) 10, 10
#include "faulty.inc"

#pragma GCC diagnostic ignored "-Wformat" // also of those that printf does not know
#define ROW(format, ...) puf_text(c, 0, 1, 1, -1, PUF_WHITE, format, __VA_ARGS__)

static void env_draw(const Env *env, PufCanvas *c) {
    char long_text[200] = {0};
    memset(long_text, 'x', 199);
    ROW("%d|%d|%d|%d", env->tick, -7, 2147483647, -2147483647 - 1);
    ROW("%5d|%05d|%5d|%05d|%1d", 42, 42, -42, -42, 12345);
    ROW("%u|%3u", 4294967295u, 7u);
    ROW("%ld|%lu", -1234567890123l, 1234567890123ul);
    ROW("%c%c|%s|%s", 'a', 'z', "word", "");
    ROW("%f|%.0f|%.1f|%.3f|%.12f", 1.5, 2.5, -0.25, 1234.5678, 1.0);
    ROW("%6.2f|%06.2f|%.2f|%.1f", 3.14159, -3.14159, 99.999, -0.04);
    ROW("%f|%.1f|%.0f", (double)NAN, (double)INFINITY, -1e300);
    ROW("100%%|%i|%li|%lf|%", 3, -4L, 0.5);
    ROW("%x %s", 255u, (const char *)1); // the pointer must not be followed
    ROW("%*d %s", 5, 255, (const char *)1);
    ROW("%zu %s", (size_t)1, (const char *)1);
    ROW("%-5d %s", 1, (const char *)1);
    ROW("%s", long_text);
    puf_text(c, 0, 1, 1, 0, PUF_WHITE, "%s", "");
}
