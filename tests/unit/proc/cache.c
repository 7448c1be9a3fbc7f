/* The build id reader and the cache of descriptions. */
#include "unit/test.h"

#include <elf.h>

#include "base/json.h"
#include "base/mem.h"
#include "proc/buildid.h"
#include "proc/cache.h"

/* An ELF file of a header, one program header and a note. */
struct tiny_elf {
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    Elf64_Nhdr other;
    char other_name[8];
    char other_data[4];
    Elf64_Nhdr note;
    char name[4];
    unsigned char id[20];
};

static struct tiny_elf make_elf(void) {
    struct tiny_elf e = {0};
    memcpy(e.header.e_ident, ELFMAG, SELFMAG);
    e.header.e_ident[EI_CLASS] = ELFCLASS64;
    e.header.e_ident[EI_DATA] = ELFDATA2LSB;
    e.header.e_phoff = offsetof(struct tiny_elf, segment);
    e.header.e_phentsize = sizeof(Elf64_Phdr);
    e.header.e_phnum = 1;
    e.segment.p_type = PT_NOTE;
    e.segment.p_offset = offsetof(struct tiny_elf, other);
    e.segment.p_filesz = sizeof e - e.segment.p_offset;
    e.other = (Elf64_Nhdr){6, 3, 1};
    memcpy(e.other_name, "stapsd", 6);
    e.note = (Elf64_Nhdr){4, 20, NT_GNU_BUILD_ID};
    memcpy(e.name, "GNU", 4);
    for (int i = 0; i < 20; i++)
        e.id[i] = (unsigned char)(i * 13);
    return e;
}

TEST(the_build_id_is_found_behind_another_note) {
    char buf[SL_BUILD_ID_SIZE];
    struct tiny_elf e = make_elf();
    CHECK_STR(sl_build_id(&e, sizeof e, buf), "000d1a2734414e5b6875828f9ca9b6c3d0ddeaf7");
}

TEST(what_has_none_gives_an_empty_one) {
    char buf[SL_BUILD_ID_SIZE];
    struct tiny_elf e = make_elf();
    for (size_t len = 0; len < offsetof(struct tiny_elf, id) + sizeof e.id; len++)
        CHECK_STR(sl_build_id(&e, len, buf), "");
    e.segment.p_offset = UINT64_MAX - 3;
    CHECK_STR(sl_build_id(&e, sizeof e, buf), "");
    e = make_elf();
    e.header.e_phoff = UINT64_MAX - 8;
    CHECK_STR(sl_build_id(&e, sizeof e, buf), "");
    e = make_elf();
    e.other.n_namesz = UINT32_MAX;
    CHECK_STR(sl_build_id(&e, sizeof e, buf), "");
    e = make_elf();
    e.note.n_descsz = 65;
    CHECK_STR(sl_build_id(&e, sizeof e, buf), "");
    e = make_elf();
    e.header.e_ident[EI_CLASS] = ELFCLASS32;
    CHECK_STR(sl_build_id(&e, sizeof e, buf), "");
    CHECK_STR(sl_build_id_of("/nowhere", buf), "");
    CHECK_STR(sl_build_id_of("/", buf), "");
}

TEST(the_build_id_of_a_real_program) {
    char buf[SL_BUILD_ID_SIZE];
    size_t len = strlen(sl_build_id_of(WORKER, buf));
    if (len == 0)
        SKIP("this linker writes no build id");
    CHECK(len >= 16 && strspn(buf, "0123456789abcdef") == len);
}

static const struct sl_cache_key key = {"/p/a.so", 100, 123456789012345678, "abcd"};

static char *make_text(void) {
    struct sl_cache c;
    sl_cache_parse("", 0, "worker 1", 1000000, &c);
    json_t *description = json_pack("{s:s}", "name", "a");
    sl_cache_put(&c, &key, description, NULL, 0);
    struct sl_cache_key other = {"/p/b.so", 5, 6, ""};
    sl_cache_put(&c, &other, NULL, "broken for a test", 0);
    sl_cache_put(&c, &other, NULL, "broken for another reason", 0);
    json_decref(description);
    char *text = sl_cache_text(&c, "worker 1");
    sl_cache_finish(&c);
    return text;
}

TEST(what_was_written_is_found_again) {
    char *text = make_text();
    struct sl_cache c;
    sl_autojson json_t *whole = NULL;
    CHECK_INT(sl_json_parse(text, strlen(text), &whole, NULL), 0); /* the file is plain JSON */
    sl_cache_parse(text, strlen(text), "worker 1", 1000000, &c);
    CHECK_INT(json_array_size(c.entries), 2);
    CHECK_STR(sl_json_str(json_object_get(sl_cache_find(&c, &key), "description"), "name", ""),
              "a");
    struct sl_cache_key other = {"/p/b.so", 5, 6, ""};
    CHECK_STR(sl_json_str(sl_cache_find(&c, &other), "broken", ""), "broken for another reason");
    struct sl_cache_key newer = key;
    newer.mtime_ns++;
    CHECK(!sl_cache_find(&c, &newer));
    newer = key;
    newer.size++;
    CHECK(!sl_cache_find(&c, &newer));
    newer = key;
    newer.build = "abce";
    CHECK(!sl_cache_find(&c, &newer));
    CHECK(!c.changed);
    sl_cache_prune(&c); /* neither file exists */
    CHECK_INT(json_array_size(c.entries), 0);
    CHECK(c.changed);
    sl_cache_finish(&c);
    free(text);
}

TEST(damage_and_another_worker_empty_it) {
    char *text = make_text();
    struct sl_cache c;
    sl_cache_parse(text, strlen(text), "worker 2", 1000000, &c);
    CHECK_INT(json_array_size(c.entries), 0);
    sl_cache_finish(&c);
    for (size_t i = 0; i < strlen(text); i++) {
        text[i] ^= 1;
        sl_cache_parse(text, strlen(text), "worker 1", 1000000, &c);
        CHECK_INT(json_array_size(c.entries), 0);
        sl_cache_finish(&c);
        text[i] ^= 1;
    }
    free(text);
}

TEST(what_may_pass_counts_for_its_time) {
    struct sl_cache c;
    sl_cache_parse("", 0, "w", 0, &c);
    sl_cache_put(&c, &key, NULL, "took too long", 1000000 + SL_CACHE_PASSING_S);
    sl_autofree char *text = sl_cache_text(&c, "w");
    sl_cache_finish(&c);
    static const struct {
        int64_t now_s;
        bool found;
    } times[] = {{1000000, true},
                 {1000000 + SL_CACHE_PASSING_S, true},
                 {1000000 + SL_CACHE_PASSING_S + 1, false},
                 {999999, false}}; /* written by a clock that was ahead */
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        sl_cache_parse(text, strlen(text), "w", times[i].now_s, &c);
        CHECK_INT(sl_cache_find(&c, &key) != NULL, times[i].found);
        sl_cache_finish(&c);
    }
}

TEST_MAIN()
