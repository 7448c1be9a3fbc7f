/* What goes to a server and comes from it, without one: replies cut at every place, requests, URLs,
 * keys. */
#include "unit/test.h"

#include <arpa/inet.h>
#include <time.h>

#include "llm/http/client.h"
#include "llm/http/reply.h"

/* ---- Replies --------------------------------------------------------------------------------- */

#define EVENT(json) "data: " json "\n\n"
#define DELTA(text) EVENT("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]}")
#define DONE        EVENT("[DONE]")

static void add(void *ctx, const char *text, size_t len) {
    num_buf_add(ctx, text, len);
}

/* Reads `bytes`, cut at every place; ends with `status`, the text `want`, and a message with
 * `says`. */
static void check_reply(const char *bytes, int32_t status, const char *want, const char *says) {
    size_t len = strlen(bytes);
    for (size_t cut = 0; cut <= len; cut++) {
        num_autobuf text = {0};
        struct num_err err = {0};
        struct lm_reply r = {.text = add, .ctx = &text};
        if (lm_reply_feed(&r, bytes, cut))
            lm_reply_feed(&r, bytes + cut, len - cut);
        int32_t got = lm_reply_end(&r, &err);
        if (got != status || (want && strcmp(num_buf_text(&text), want) != 0))
            TEST_FAIL("cut at %zu: %d \"%s\" (%s)", cut, (int)got, num_buf_text(&text), err.text);
        if (says)
            CHECK_HAS(err.text, says);
        lm_reply_finish(&r);
    }
}

TEST(streams) {
    check_reply(DELTA("Hel") DELTA("lo") DONE, SLUICE_OK, "Hello", NULL);
    check_reply(
        ": hm\r\n\r\ndata:{\"choices\":[{\"delta\":{\"content\":\"a\"},\rdata:\"finish_reason\":"
        "\"stop\"}]}\r\n\r\n",
        SLUICE_OK, "a", NULL);
    check_reply("\xef\xbb\xbf" DELTA("\\u00e4") EVENT("{\"choices\":[]}") "data: [DONE]", SLUICE_OK,
                "\u00e4", NULL);
    check_reply(DELTA("a") DONE DELTA("late"), SLUICE_OK, "a", NULL);
    check_reply(EVENT("{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"other\"}}]}") DONE,
                SLUICE_OK, "", NULL);
}

TEST(objects) {
    check_reply(
        " {\"choices\":[{\"message\":{\"content\":\"Hello\"},\"finish_reason\":\"stop\"}]}\n",
        SLUICE_OK, "Hello", NULL);
    check_reply("{\"choices\":[{\"message\":{\"content\":null}}]}", SLUICE_OK, "", NULL);
}

TEST(what_is_no_reply) {
    check_reply("", SLUICE_TRANSIENT, "", "broke off");
    check_reply("{\"choices\":[{\"mess", SLUICE_TRANSIENT, "", "broke off");
    check_reply(DELTA("a"), SLUICE_TRANSIENT, "a", "broke off");
    check_reply(DELTA("a") "data: {\"choi", SLUICE_TRANSIENT, "a", "broke off");
    check_reply("<html>no: it is not</html>", SLUICE_UNSUPPORTED, "", "not JSON");
    check_reply(EVENT("hello"), SLUICE_UNSUPPORTED, "", "not JSON");
    check_reply(EVENT("{\"x\":1}"), SLUICE_UNSUPPORTED, "", "no choices");
    check_reply("{\"x\":1}", SLUICE_UNSUPPORTED, "", "no choices");
    check_reply("{x}", SLUICE_UNSUPPORTED, "", "not JSON");
    check_reply(DELTA("a") EVENT("{\"error\":{\"message\":\"it\\nfell\"}}"), SLUICE_TRANSIENT, "a",
                "broke off: it fell");
    check_reply(EVENT("{\"choices\":[{\"delta\":{},\"finish_reason\":\"content_filter\"}]}"),
                SLUICE_INPUT, "", "withholds");
}

TEST(numbers_of_a_reply) {
    static const char text[] = EVENT("{\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}")
        EVENT("{\"choices\":[],\"usage\":{\"prompt_tokens\":70,\"completion_tokens\":3,"
              "\"prompt_tokens_details\":{\"cached_tokens\":64}}}") DONE;
    struct lm_reply r = {0};
    struct num_err err;
    CHECK(lm_reply_feed(&r, text, strlen(text)));
    CHECK_INT(lm_reply_end(&r, &err), SLUICE_OK);
    CHECK_INT(r.n_prompt, 70);
    CHECK_INT(r.n_cached, 64);
    CHECK_INT(r.n_tokens, 3);
    CHECK_INT(r.end, LM_END_LENGTH);
    lm_reply_finish(&r);
}

TEST(a_line_without_an_end_is_refused) {
    static char piece[4096];
    struct lm_reply r = {0};
    struct num_err err;
    size_t n = 0;
    memset(piece, 'x', sizeof piece);
    while (n < 1000 && lm_reply_feed(&r, piece, sizeof piece))
        n++;
    CHECK(n == 256);
    CHECK_INT(lm_reply_end(&r, &err), SLUICE_RESOURCE);
    lm_reply_finish(&r);
}

TEST(reasons_of_refusals) {
    static const struct {
        const char *body, *want;
    } cases[] = {{"{\"error\":{\"message\":\"too\\nlong\"}}", "too long"},
                 {"{\"error\":\"no\"}", "no"},
                 {"{\"detail\":\"no\"}", "no"},
                 {"{\"object\":\"error\",\"message\":\"no\"}", "no"},
                 {"{\"detail\":[1]}", ""},
                 {"<html>", ""},
                 {"", ""},
                 {"busy\r\n", "busy "},
                 {"{\"error\":\"\u00e4\"}", "\u00e4"},
                 {"{\"error\":\"0123456789012345678901234567890123456\u20ac\u20ac\"}",
                  "0123456789012345678901234567890123456"},
                 {"\xff\xfe", "??"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[40];
        lm_reply_refusal(cases[i].body, strlen(cases[i].body), line, sizeof line);
        if (strcmp(line, cases[i].want) != 0)
            TEST_FAIL("%s: \"%s\"", cases[i].body, line);
    }
}

/* ---- Requests -------------------------------------------------------------------------------- */

TEST(a_request) {
    json_t *extra = json_loads("{\"top_k\": 5, \"stream_options\": null}", 0, NULL);
    json_t *schema = json_loads("{\"type\": \"string\"}", 0, NULL);
    static const char *const stops[] = {"\n", "END"};
    struct lm_client_options o = {.model = "m", .extra = extra};
    struct lm_ask ask = {.system = "Be good.",
                         .user = "Hi \"you\"",
                         .user_len = 8,
                         .max_tokens = 5,
                         .schema = schema,
                         .stops = stops,
                         .n_stops = 2};
    char *text = lm_client_body(&o, &ask);
    json_t *body = json_loads(text, 0, NULL);
    json_t *want = json_loads(
        "{\"model\": \"m\", \"messages\": [{\"role\": \"system\", \"content\": \"Be good.\"}, "
        "{\"role\": \"user\", \"content\": \"Hi \\\"you\\\"\"}], \"stream\": true, \"max_tokens\": "
        "5, "
        "\"temperature\": 0.0, \"response_format\": {\"type\": \"json_schema\", \"json_schema\": "
        "{\"name\": \"answer\", \"strict\": true, \"schema\": {\"type\": \"string\"}}}, "
        "\"top_k\": 5}",
        0, NULL);
    CHECK(want && json_equal(body, want));
    free(text);
    json_decref(body);
    ask.schema = NULL; /* what has no form may be cut off */
    text = lm_client_body(&o, &ask);
    body = json_loads(text, 0, NULL);
    const json_t *stop = json_object_get(body, "stop");
    CHECK_INT(json_array_size(stop), 2);
    CHECK_STR(json_string_value(json_array_get(stop, 1)), "END");
    free(text);
    json_decref(body);
    json_decref(want);
    json_decref(extra);
    json_decref(schema);
}

TEST(what_passes) {
    CHECK(lm_client_passes(408) && lm_client_passes(429) && lm_client_passes(500));
    CHECK(lm_client_passes(503) && !lm_client_passes(400) && !lm_client_passes(302));
}

/* ---- Endpoints ------------------------------------------------------------------------------- */

TEST(urls) {
    static const struct {
        const char *url, *whole, *origin;
        bool loopback, open;
    } cases[] = {
        {"http://localhost:8080/v1", "http://localhost:8080/v1/chat/completions",
         "http://localhost:8080", true, true},
        {"http://127.3.2.1", "http://127.3.2.1/v1/chat/completions", "http://127.3.2.1", true,
         true},
        {"https://[::1]:9/", "https://[::1]:9/v1/chat/completions", "https://[::1]:9", true, false},
        {"https://api.example.org/v1/", "https://api.example.org/v1/chat/completions",
         "https://api.example.org", false, false},
        {"https://h/a/chat/completions?api-version=2", "https://h/a/chat/completions?api-version=2",
         "https://h", false, false},
        {"http://127.example.org", "http://127.example.org/v1/chat/completions",
         "http://127.example.org", false, true},
        {"http://localhost.example.org", "http://localhost.example.org/v1/chat/completions",
         "http://localhost.example.org", false, true},
        {"http://my.localhost/", "http://my.localhost/v1/chat/completions", "http://my.localhost",
         true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct lm_endpoint e = {0};
        struct num_err err = {0};
        if (lm_endpoint_parse(cases[i].url, &e, &err))
            TEST_FAIL("%s: %s", cases[i].url, err.text);
        CHECK_STR(e.url, cases[i].whole);
        CHECK_STR(e.origin, cases[i].origin);
        CHECK(e.loopback == cases[i].loopback && e.open == cases[i].open);
        lm_endpoint_finish(&e);
    }
    static const char *const bad[] = {"",
                                      "localhost",
                                      "ftp://h",
                                      "http://",
                                      "http://a:b@h/v1",
                                      "file:///etc/passwd",
                                      "http://h:99999/"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct lm_endpoint e = {0};
        struct num_err err = {0};
        CHECK_INT(lm_endpoint_parse(bad[i], &e, &err), SLUICE_INPUT);
        CHECK_HAS(err.text, "such as http://localhost:8080/v1");
        CHECK(!e.url && !strstr(err.text, "a:b"));
    }
}

static int32_t read_key(struct lm_endpoint *e, const char *value, struct num_err *err) {
    CHECK_INT(setenv("SLUICE_TEST_KEY", value, 1), 0);
    lm_endpoint_finish(e);
    return lm_endpoint_read_key(e, "{\"env\": \"SLUICE_TEST_KEY\"}", err);
}

TEST(keys) {
    struct lm_endpoint e = {0};
    struct num_err err = {0};
    CHECK_INT(read_key(&e, "  sk-1 \nmore", &err), SLUICE_OK);
    CHECK_STR(e.key, "sk-1");
    char text[] = "sk-1 is wrong: sk-1sk-1";
    lm_endpoint_redact(&e, text);
    CHECK_STR(text, "*** is wrong: ******");
    CHECK_INT(read_key(&e, "sk-12345", &err), SLUICE_OK);
    char cut[] = "wrong: sk-1234";
    lm_endpoint_redact(&e, cut);
    CHECK_STR(cut, "wrong: ***");
    CHECK_INT(read_key(&e, "\n", &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "SLUICE_TEST_KEY is empty");
    CHECK_INT(read_key(&e, "a b", &err), SLUICE_INPUT);
    CHECK_HAS(err.text, "in no key");
    CHECK(!strstr(err.text, "a b"));
    static const char *const wrong[] = {"\"sk-9\"", "{\"key\": \"sk-9\"}", "3",
                                        "{\"env\": \"A\", \"file\": \"sk-9\"}"};
    for (size_t i = 0; i < 4; i++) {
        CHECK_INT(lm_endpoint_read_key(&e, wrong[i], &err), SLUICE_INPUT);
        CHECK(!strstr(err.text, "sk-9"));
    }
    lm_endpoint_finish(&e);
}

/* ---- Waiting --------------------------------------------------------------------------------- */

/* A server that takes connections and never says a word; its endpoint. */
static int silent_server(struct lm_endpoint *ret) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    struct num_err err;
    char url[64];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 && listen(fd, 4) == 0);
    CHECK_INT(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(at.sin_port));
    CHECK_INT(lm_endpoint_parse(url, ret, &err), SLUICE_OK);
    return fd;
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* 300 steps that waited would take half a minute. */
TEST(a_step_that_waits_can_be_woken) {
    struct lm_client_options o = {
        .model = "m", .timeout_s = 60, .attempts = 1, .context = 4096, .parallel = 1};
    struct lm_question q = {.ask = {.user = "Hi", .user_len = 2}};
    struct lm_session *s = NULL;
    struct num_err err;
    int fd = silent_server(&o.endpoint);
    CHECK_INT(lm_client_open(&o, &s, &err), SLUICE_OK);
    lm_session_start(s, &q);
    double begin = now_s();
    for (int i = 0; i < 300; i++) {
        lm_session_wake(s);
        lm_session_step(s);
    }
    CHECK(now_s() - begin < 15);
    CHECK(!atomic_load(&q.done));
    atomic_store(&q.stop, true);
    lm_session_step(s);
    CHECK(atomic_load(&q.done) && q.status == SLUICE_CANCELLED);
    num_buf_finish(&q.out);
    lm_session_close(s);
    close(fd);
}

TEST_MAIN()
