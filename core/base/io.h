/* Files: read whole with a limit, write whole or not at all, folders, copies. Every open is
 * O_CLOEXEC. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

/* Reads a file of at most `limit` bytes into *ret_data (owned, NUL after the last byte).
 * SLUICE_INPUT: missing, a folder, over the limit; message "PATH: ...". */
int sl_read_file(const char *path, size_t limit, char **ret_data, size_t *ret_len,
                 struct sl_err *err);

/* All bytes, whatever the kernel takes at a time. */
int sl_write_all(int fd, const void *data, size_t len, struct sl_err *err);

/* Writes `path` whole: a temporary name beside it, fsync, rename. On failure nothing is left. */
int sl_write_file(const char *path, const void *data, size_t len, struct sl_err *err);
/* Makes a new name in the folder that `path` is in durable, where the file system allows it. */
void sl_sync_folder_of(const char *path);

/* mkdir -p. */
int sl_make_dirs(const char *path, struct sl_err *err);
#define SL_REMOVE_LIMIT_MS 20000
/* rm -r: a file, or a folder and what is in it; never follows links. What is missing counts as
 * removed. Of any depth; gives up after SL_REMOVE_LIMIT_MS, should a process fill it faster. */
int sl_remove_tree(const char *path, struct sl_err *err);

/* Joins with one slash into an owned string; a `name` that begins with a slash stands alone. */
char *sl_path_join(const char *dir, const char *name);
/* The part after the last slash; borrowed from `path`. */
const char *sl_path_base(const char *path);
/* Absolute form of `path` by the current folder, without resolving links; owned. */
char *sl_path_absolute(const char *path);
bool sl_path_exists(const char *path);

/* Folder of caches: $SLUICE_CACHE, else $XDG_CACHE_HOME/sluice, else ~/.cache/sluice; owned. NULL:
 * there is no place. */
char *sl_cache_folder(void);

/* Folder of the running program's installation: "<prefix>" of "<prefix>/bin/NAME" or
 * "<prefix>/libexec/sluice/NAME"; owned. */
char *sl_install_prefix(void);

#endif
