/* Inspecting a plugin: what loading it does to a process. For `sluice plugin check`. */
#ifndef WORKER_INSPECT_H
#define WORKER_INSPECT_H

/*
 * Loads the plugin at `path` as a worker would and writes one JSON object to `fd`:
 *   {"load_ms": 1.25, "threads": 0, "printed": 0, "data_bytes": 8192, "opened": ["/tmp/x"],
 * "libraries": ["/lib/..."]} threads: more than before; printed: bytes on standard output;
 * data_bytes: growth of private writable memory; opened: descriptors that stayed open, by what they
 * are; libraries: what was mapped, the plugin itself left out. Returns the exit code of the program
 * (describe.h); the reason of a failure is the last line of standard error.
 */
int sl_inspect(const char *path, int fd);

#endif
