/*
 * Replays a fuzz corpus through LLVMFuzzerTestOneInput: every file as it is, cut short at several
 * places, and with bytes changed by a fixed pseudo-random sequence. Finds regressions without a
 * fuzzing compiler; the sanitizer presets make it sharp. Exit 1 where the corpus is missing or
 * empty.
 */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUTATIONS_PER_FILE 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t random_next(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Runs a copy of exactly `size` bytes, so that a sanitizer sees a read past the end. */
static void run_copy(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_mutations(uint8_t *data, size_t size) {
    uint64_t state = 0x9e3779b97f4a7c15u ^ size;
    for (size_t cut = 1; cut <= 8 && size; cut++)
        run_copy(data, size * cut / 9);
    for (int i = 0; i < MUTATIONS_PER_FILE && size; i++) {
        size_t at = random_next(&state) % size;
        uint8_t was = data[at];
        data[at] = i % 3 == 0 ? 0xff : i % 3 == 1 ? 0 : (uint8_t)random_next(&state);
        run_copy(data, size);
        if (i % 2)
            data[at] = was;
    }
}

static int replay_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f)
        return 0;
    static uint8_t data[4 << 20];
    size_t size = fread(data, 1, sizeof data, f);
    fclose(f);
    run_copy(data, size);
    run_mutations(data, size);
    return 1;
}

int main(int argc, char **argv) {
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    if (!dir) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 1;
    }
    int files = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name);
        if (e->d_name[0] != '.')
            files += replay_file(path);
    }
    closedir(dir);
    printf("%d files replayed\n", files);
    return files ? 0 : 1;
}
