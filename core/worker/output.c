/*
 * Outputs of a job: a file from the core, grown and mapped shared while the stage writes, checked
 * and reported when it commits.
 *
 * A small output is memory until it is committed, then one write: a file that is written and
 * removed soon after never reaches the disk, where one whose room was reserved has blocks to free.
 *
 * Room of larger ones is reserved (fallocate) before it is mapped, so that a full disk is an error
 * of output_grow() and not a SIGBUS in the middle of the stage; file systems that cannot reserve
 * get ftruncate. Where the file lives in memory (memfd, tmpfs without a limit) reserving takes
 * pages until the machine has none, so what is free is asked first. A map grows by at least half,
 * so that a stage that asks for a little more each time does not remap each time; commit cuts the
 * file to its length. Large maps ask for huge pages: where the file system has them (ext4 and XFS
 * do), the file is held in them from then on, and whoever reads it takes one page fault and one
 * entry of the TLB for 2 MiB instead of for 4 KiB.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "ipc/portcheck.h"
#include "worker/host.h"

#define PAGE      4096u
#define SMALL     (64u << 10) /* bytes */
#define ASK_FROM  (16u << 20) /* bytes of growth */
#define HUGE_FROM (4u << 20)  /* bytes of a map */

/* Main thread, so without the lock: only the main thread changes outputs. */
static struct sl_job_output *find_output(struct sluice_job *job, const char *port,
                                         const char *call) {
    for (int i = 0; port && i < job->n_outputs; i++)
        if (strcmp(job->outputs[i].port, port) == 0)
            return &job->outputs[i];
    pthread_mutex_lock(&job->host->lock);
    sl_host_reportf(job->host, job->id, SLUICE_LOG_ERROR, "%s(): the job has no output \"%s\"",
                    call, port ? port : "(NULL)");
    pthread_mutex_unlock(&job->host->lock);
    return NULL;
}

static void fail(struct sluice_job *job, const char *text) {
    pthread_mutex_lock(&job->host->lock);
    snprintf(job->failure, sizeof job->failure, "%s", text);
    pthread_mutex_unlock(&job->host->lock);
}

static int32_t refuse_grow(struct sluice_job *job, const struct sl_job_output *out, int32_t status,
                           const char *why) {
    char text[SL_ERR_SIZE];
    snprintf(text, sizeof text, "output \"%.100s\" cannot grow: %s", out->port, why);
    fail(job, text);
    return status;
}

/* ---- Growing --------------------------------------------------------------------------------- */

/* Bytes of memory that can be had without swapping; UINT64_MAX where the kernel does not say. */
static uint64_t memory_available(void) {
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];
    unsigned long long kib;
    uint64_t bytes = UINT64_MAX;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            bytes = (uint64_t)kib * 1024;
    if (f)
        fclose(f);
    return bytes;
}

/* False where `more` bytes of a file in memory cannot be there. Small steps are not asked about:
 * they cost less. */
static bool has_memory_for(int fd, size_t more) {
    struct statfs fs;
    if (more < ASK_FROM || fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
        return true;
    return more < memory_available();
}

static int reserve(int fd, size_t from, size_t to) {
    int rc;
    if (!has_memory_for(fd, to - from)) {
        errno = ENOSPC;
        return -1;
    }
    do
        rc = fallocate(fd, 0, (off_t)from, (off_t)(to - from));
    while (rc < 0 && errno == EINTR);
    if (rc < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
        rc = ftruncate(fd, (off_t)to);
    return rc;
}

static int grow_memory(struct sl_job_output *out, size_t size) {
    void *map = out->map
                    ? mremap(out->map, out->mapped, size, MREMAP_MAYMOVE)
                    : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return -1;
    out->map = map;
    out->mapped = size;
    out->in_memory = true;
    return 0;
}

static int grow_file(struct sl_job_output *out, size_t size) {
    if (reserve(out->fd, out->mapped, size) < 0)
        return -1;
    void *map = out->map ? mremap(out->map, out->mapped, size, MREMAP_MAYMOVE)
                         : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, out->fd, 0);
    if (map == MAP_FAILED)
        return -1;
    if (size >= HUGE_FROM)
        madvise(map, size, MADV_HUGEPAGE);
    out->map = map;
    out->mapped = size;
    return 0;
}

/* An output in memory becomes the file. */
static int leave_memory(struct sl_job_output *out, size_t size) {
    struct sl_job_output file = {.fd = out->fd};
    if (grow_file(&file, size) < 0)
        return -1;
    memcpy(file.map, out->map, out->mapped);
    munmap(out->map, out->mapped);
    out->map = file.map;
    out->mapped = size;
    out->in_memory = false;
    return 0;
}

static int grow_to(struct sl_job_output *out, size_t size) {
    bool in_memory = out->in_memory || !out->map;
    return in_memory && size <= SMALL ? grow_memory(out, size)
           : out->in_memory           ? leave_memory(out, size)
                                      : grow_file(out, size);
}

/* Half as much again where there is room, else just what was asked for. */
static int grow(struct sl_job_output *out, uint64_t capacity) {
    uint64_t least = (capacity + PAGE - 1) / PAGE * PAGE,
             more = (out->mapped + out->mapped / 2) / PAGE * PAGE;
    if (more > least && grow_to(out, more) == 0)
        return 0;
    return grow_to(out, least);
}

int32_t sl_job_output_grow(struct sluice_job *job, const char *port, uint64_t capacity,
                           void **ret_data) {
    if (!sl_job_check(job, "output_grow"))
        return SLUICE_INTERNAL;
    struct sl_job_output *out = find_output(job, port, "output_grow");
    if (!out)
        return SLUICE_INTERNAL;
    if (out->committed)
        return refuse_grow(job, out, SLUICE_INTERNAL, "it was committed already");
    if (capacity == 0)
        capacity = 1;
    if (capacity > INT64_MAX - PAGE)
        return refuse_grow(job, out, SLUICE_RESOURCE, strerror(EFBIG));
    if (capacity > out->mapped && grow(out, capacity) < 0)
        return refuse_grow(job, out, SLUICE_RESOURCE, strerror(errno));
    *ret_data = out->map;
    return 0;
}

/* ---- Committing ------------------------------------------------------------------------------ */

/* Checks the finished file through a read-only map of its own. */
static int check_content(const struct sl_job_output *out, size_t len, struct sl_err *err) {
    if (len == 0)
        return sl_port_check(out->type, "", 0, err);
    void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, out->fd, 0);
    if (map == MAP_FAILED)
        return sl_err_sys(err, SLUICE_RESOURCE, errno, "cannot be mapped");
    int rc = sl_port_check(out->type, map, len, err);
    munmap(map, len);
    return rc;
}

static void unmap(struct sl_job_output *out) {
    if (out->map)
        munmap(out->map, out->mapped);
    out->map = NULL;
    out->mapped = 0;
    out->in_memory = false;
}

/* What the stage may have left in the file by other ways is overwritten and cut. */
static int write_memory(struct sl_job_output *out, size_t len, struct sl_err *err) {
    const char *at = out->map;
    size_t left = len;
    int rc = sl_port_check(out->type, out->map, len, err);
    while (rc == 0 && left > 0) {
        ssize_t n = pwrite(out->fd, at, left, (off_t)(len - left));
        if (n < 0 && errno != EINTR)
            rc = sl_err_sys(err, sl_err_class_of_errno(errno), errno, "cannot be written");
        at += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    unmap(out);
    if (rc == 0 && ftruncate(out->fd, (off_t)len) < 0)
        rc = sl_err_sys(err, sl_err_class_of_errno(errno), errno, "cannot be cut to its length");
    return rc;
}

static int finish_file(struct sl_job_output *out, size_t len, struct sl_err *err) {
    if (out->in_memory)
        return write_memory(out, len, err);
    unmap(out);
    if (ftruncate(out->fd, (off_t)len) < 0)
        return sl_err_sys(err, sl_err_class_of_errno(errno), errno, "cannot be cut to its length");
    return check_content(out, len, err);
}

static void send_commit(struct sluice_job *job, const struct sl_job_output *out, uint64_t len) {
    struct sl_host *host = job->host;
    pthread_mutex_lock(&host->lock);
    sl_frame_init(&host->frame, SL_FRAME_COMMIT, job->id);
    sl_frame_add_text(&host->frame, out->port);
    sl_frame_add_u64(&host->frame, len);
    sl_host_send(host);
    pthread_mutex_unlock(&host->lock);
}

/* Keeps the reason as the job's failure and as the output's, should the stage go on regardless. */
static int32_t refuse_commit(struct sluice_job *job, struct sl_job_output *out, const char *why) {
    snprintf(out->problem, sizeof out->problem, "output \"%.100s\": %.800s", out->port, why);
    fail(job, out->problem);
    return SLUICE_INTERNAL;
}

int32_t sl_job_output_commit(struct sluice_job *job, const char *port, uint64_t len) {
    if (!sl_job_check(job, "output_commit"))
        return SLUICE_INTERNAL;
    struct sl_job_output *out = find_output(job, port, "output_commit");
    if (!out)
        return SLUICE_INTERNAL;
    if (out->committed)
        return refuse_commit(job, out, "committed twice");
    if (len > out->mapped)
        return refuse_commit(job, out, "committed with more bytes than it was grown to");
    struct sl_err err;
    int rc = finish_file(out, (size_t)len, &err);
    if (rc == SLUICE_RESOURCE || rc == SLUICE_TRANSIENT) {
        refuse_commit(job, out, err.msg);
        return rc;
    }
    if (rc < 0)
        return refuse_commit(job, out, err.msg);
    out->committed = true;
    send_commit(job, out, len);
    return 0;
}

void sl_job_outputs_close(struct sluice_job *job) {
    for (int i = 0; i < job->n_outputs; i++) {
        struct sl_job_output *out = &job->outputs[i];
        unmap(out);
        sl_close(&out->fd);
    }
}
