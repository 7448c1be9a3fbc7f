/* Digests of files: see digest.h. */
#include "fetch/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "base/mem.h"

#define CHUNK_BYTES (1u << 20)

static void cleanup_md(EVP_MD_CTX **ctx) {
    EVP_MD_CTX_free(*ctx);
}
#define auto_md __attribute__((cleanup(cleanup_md))) EVP_MD_CTX

static void finish(EVP_MD_CTX *ctx, char *hex) {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    EVP_DigestFinal_ex(ctx, bytes, &n);
    for (unsigned i = 0; i < n; i++)
        sprintf(hex + 2 * i, "%02x", bytes[i]);
}

int sl_digest_file(const char *path, bool (*stop)(void *ctx), void *stop_ctx,
                   struct sl_digests *ret, struct sl_err *err) {
    sl_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    sl_autofree unsigned char *chunk = sl_xmalloc(CHUNK_BYTES);
    auto_md *sha256 = EVP_MD_CTX_new(), *sha1 = EVP_MD_CTX_new();
    struct stat info;
    char head[64];
    ssize_t n;
    if (fd < 0 || fstat(fd, &info) < 0)
        return sl_err_sys(err, SLUICE_INPUT, errno, "%s", path);
    if (!sha256 || !sha1 || !EVP_DigestInit_ex(sha256, EVP_sha256(), NULL) ||
        !EVP_DigestInit_ex(sha1, EVP_sha1(), NULL))
        return sl_err_set(err, SLUICE_INTERNAL, "libcrypto has no SHA-256 and SHA-1");
    int len = snprintf(head, sizeof head, "blob %" PRIu64, (uint64_t)info.st_size) + 1;
    EVP_DigestUpdate(sha1, head, (size_t)len);
    while ((n = read(fd, chunk, CHUNK_BYTES)) > 0) {
        EVP_DigestUpdate(sha256, chunk, (size_t)n);
        EVP_DigestUpdate(sha1, chunk, (size_t)n);
        if (stop && stop(stop_ctx))
            return sl_err_set(err, SLUICE_CANCELLED, "interrupted");
    }
    if (n < 0)
        return sl_err_sys(err, SLUICE_TRANSIENT, errno, "%s", path);
    finish(sha256, ret->sha256);
    finish(sha1, ret->git_sha1);
    return 0;
}
