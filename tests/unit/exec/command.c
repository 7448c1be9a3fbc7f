/* exec/command through a host, with real programs. */
#include "unit/test.h"
#include "unit/fakehost.h"

#include <fcntl.h>
#include <signal.h>

static struct fake_host h;

static void begin(const char *argv) {
    fake_host_init(&h, fake_stage("exec/command"));
    fake_param(&h, "argv", argv);
}

/* A shell script as argv; quotes in it must be JSON's. */
#define SH(script) "[\"sh\", \"-c\", \"" script "\", \"sh\", "

TEST(inputs_and_outputs_are_files) {
    begin("[\"sort\", \"-o\", \"${out.text}\", \"${in.text}\"]");
    fake_param(&h, "outputs", "{\"text\": \"text/1\"}");
    fake_input(&h, "text", SLUICE_TYPE_TEXT, "b\na\n", 4);
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_STR(fake_output(&h, "text"), "a\nb\n");
    fake_host_finish(&h);
}

TEST(references_work_inside_arguments_and_the_environment) {
    begin(SH("printf '%s' \\\"$1\\\" > \\\"$WHERE\\\"") "\"--in=${in.audio}!\"]");
    fake_param(&h, "outputs", "{\"report\": \"json/1\"}");
    fake_param(&h, "env", "{\"WHERE\": \"${out.report}\"}");
    fake_input_file(&h, "audio", "/data/a b.wav");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_STR(fake_output(&h, "report"), "--in=/data/a b.wav!");
    fake_host_finish(&h);
}

TEST(no_ports_are_needed) {
    begin("[\"true\"]");
    h.no_scratch = 1;
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_INT(h.n_outputs, 0);
    CHECK(h.n_progress > 0);
    fake_host_finish(&h);
}

static void check_end(const char *script, const char *exit_codes, int32_t status,
                      const char *message) {
    char argv[512];
    snprintf(argv, sizeof argv, "[\"sh\", \"-c\", \"%s\"]", script);
    begin(argv);
    if (exit_codes)
        fake_param(&h, "exit_codes", exit_codes);
    CHECK_INT(fake_run(&h), status);
    CHECK_STR(h.message, message);
    fake_host_finish(&h);
}

TEST(exit_statuses_become_classes) {
    check_end("exit 3", NULL, SLUICE_INTERNAL,
              "sh exited with status 3 and wrote nothing to standard error");
    check_end("exit 75", NULL, SLUICE_TRANSIENT,
              "sh exited with status 75 and wrote nothing to standard error");
    check_end("exit 137", NULL, SLUICE_RESOURCE,
              "sh exited with status 137 and wrote nothing to standard error");
    check_end("echo first >&2; echo 'bad header' >&2; exit 3", "{\"3\": \"input\"}", SLUICE_INPUT,
              "sh exited with status 3; its last line on standard error: \"bad header\"");
    check_end("exit 1", "{\"1\": \"ok\"}", SLUICE_OK, "");
    check_end("exit 0", "{\"0\": \"unsupported\"}", SLUICE_UNSUPPORTED,
              "sh exited with status 0 and wrote nothing to standard error");
}

TEST(signals_become_classes) {
    check_end("kill -9 $$", NULL, SLUICE_RESOURCE,
              "sh was killed by signal 9 (Killed) and wrote nothing to standard error");
    check_end("echo ouch >&2; kill -SEGV $$", NULL, SLUICE_INTERNAL,
              "sh was killed by signal 11 (Segmentation fault); its last line on standard error: "
              "\"ouch\"");
    check_end("kill -TERM $$", "{\"143\": \"transient\"}", SLUICE_TRANSIENT,
              "sh was killed by signal 15 (Terminated) and wrote nothing to standard error");
}

TEST(a_missing_program_is_said) {
    begin("[\"no-such-program-anywhere\"]");
    fake_param(&h, "env", "{\"PATH\": \"/bin\"}");
    CHECK_INT(fake_run(&h), SLUICE_UNSUPPORTED);
    CHECK_HAS(h.message, "no-such-program-anywhere: not found in PATH (/bin)");
    fake_host_finish(&h);
}

TEST(a_script_without_an_interpreter_is_said) {
    char argv[128], path[96];
    begin("[]");
    snprintf(path, sizeof path, "%s/script", h.folder);
    FILE *f = fopen(path, "w");
    fputs("echo hello\n", f);
    fclose(f);
    chmod(path, 0755);
    snprintf(argv, sizeof argv, "[\"%s\"]", path);
    fake_param(&h, "argv", argv);
    CHECK_INT(fake_run(&h), SLUICE_UNSUPPORTED);
    CHECK_HAS(h.message, "#!/bin/sh");
    fake_host_finish(&h);
}

TEST(an_output_that_was_not_written_is_said) {
    begin("[\"true\", \"${out.text}\"]");
    fake_param(&h, "outputs", "{\"text\": \"text/1\"}");
    CHECK_INT(fake_run(&h), SLUICE_INTERNAL);
    CHECK_HAS(h.message, "true ended well but did not write its output `text`");
    CHECK(fake_output(&h, "text") == NULL);
    fake_host_finish(&h);
}

TEST(an_output_that_is_no_file_is_said) {
    begin("[\"mkfifo\", \"${out.text}\"]");
    fake_param(&h, "outputs", "{\"text\": \"text/1\"}");
    CHECK_INT(fake_run(&h), SLUICE_INTERNAL);
    CHECK_HAS(h.message, "is not a plain file");
    fake_host_finish(&h);
}

TEST(an_output_may_be_empty) {
    begin("[\"touch\", \"${out.text}\"]");
    fake_param(&h, "outputs", "{\"text\": \"text/1\"}");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_STR(fake_output(&h, "text"), "");
    fake_host_finish(&h);
}

TEST(an_output_may_be_big) {
    begin("[\"truncate\", \"-s\", 300000001, \"${out.text}\"]");
    fake_param(&h, "outputs", "{\"text\": \"text/1\"}");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_INT(fake_output_len(&h, "text"), 300000001);
    CHECK(h.n_progress > 30);
    fake_host_finish(&h);
}

TEST(nothing_is_committed_by_a_failure) {
    begin(SH("echo x > \\\"$1\\\"; exit 1") "\"${out.text}\"]");
    fake_param(&h, "outputs", "{\"text\": \"text/1\"}");
    CHECK_INT(fake_run(&h), SLUICE_INTERNAL);
    CHECK(fake_output(&h, "text") == NULL);
    fake_host_finish(&h);
}

TEST(outputs_of_an_earlier_job_do_not_count) {
    begin(
        SH("test -e \\\"$1\\\" && exit 9; test $0 = sh || echo x > \\\"$1\\\"") "\"${out.text}\"]");
    fake_param(&h, "outputs", "{\"text\": \"text/1\"}");
    char path[160];
    snprintf(path, sizeof path, "%s/text.txt", fake_scratch_path((struct sluice_job *)&h));
    fclose(fopen(path, "w"));
    CHECK_INT(fake_run(&h), SLUICE_INTERNAL);
    CHECK_HAS(h.message, "did not write its output");
    fake_host_finish(&h);
}

TEST(the_environment_is_the_given_one) {
    setenv("SECRET", "x", 1);
    begin(SH("env > \\\"$1\\\"") "\"${out.text}\"]");
    fake_param(&h, "outputs", "{\"text\": \"text/1\"}");
    fake_param(&h, "env", "{\"THREADS\": 4, \"MODE\": \"a b\"}");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    const char *env = fake_output(&h, "text");
    CHECK_HAS(env, "THREADS=4\n");
    CHECK_HAS(env, "MODE=a b\n");
    CHECK_HAS(env, "PATH=");
    CHECK_HAS(env, "/scratch\n"); /* TMPDIR */
    CHECK(strstr(env, "SECRET") == NULL);
    fake_host_finish(&h);
}

TEST(the_program_gets_no_descriptor_but_the_three) {
    int leak = open("/dev/null", O_RDONLY); /* no O_CLOEXEC on purpose */
    CHECK(leak > 2);
    begin(
        SH("ls /proc/$$/fd > \\\"$1\\\"; readlink /proc/$$/fd/0 >> \\\"$1\\\"") "\"${out.text}\"]");
    fake_param(&h, "outputs", "{\"text\": \"text/1\"}");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    /* The shell itself may hold a copy of what it redirects, at 10 or above. */
    CHECK_HAS(fake_output(&h, "text"), "0\n1\n");
    CHECK_HAS(fake_output(&h, "text"), "2\n");
    CHECK_HAS(fake_output(&h, "text"), "/dev/null\n");
    CHECK(strstr(fake_output(&h, "text"), "\n3\n") == NULL);
    close(leak);
    fake_host_finish(&h);
}

TEST(ignored_and_blocked_signals_are_not_inherited) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    begin("[\"sh\", \"-c\", \"kill -PIPE $$; exit 3\"]");
    CHECK_INT(fake_run(&h), SLUICE_INTERNAL);
    CHECK_HAS(h.message, "killed by signal 13");
    fake_param(&h, "argv", "[\"sh\", \"-c\", \"kill -USR1 $$; exit 3\"]");
    CHECK_INT(fake_run(&h), SLUICE_INTERNAL);
    CHECK_HAS(h.message, "killed by signal 10");
    fake_host_finish(&h);
}

TEST(unknown_ports_are_named) {
    begin("[\"cat\", \"${in.audoi}\"]");
    fake_input(&h, "audio", SLUICE_TYPE_TEXT, "x", 1);
    CHECK_INT(fake_run(&h), SLUICE_UNSUPPORTED);
    CHECK_STR(h.message, "${in.audoi}: nothing is connected there; connected: audio");
    fake_host_finish(&h);
    begin("[\"cat\", \"${out.text}\"]");
    CHECK_INT(fake_run(&h), SLUICE_UNSUPPORTED);
    CHECK_STR(h.error, "${out.text}: no such output; `outputs` declares none");
    fake_host_finish(&h);
}

TEST(outputs_need_a_scratch_folder) {
    begin("[\"touch\", \"${out.text}\"]");
    fake_param(&h, "outputs", "{\"text\": \"text/1\"}");
    h.no_scratch = 1;
    CHECK_INT(fake_run(&h), SLUICE_UNSUPPORTED);
    CHECK_HAS(h.error, "scratch folder");
    fake_host_finish(&h);
}

TEST(a_cancelled_program_is_asked_to_stop) {
    begin("[\"sleep\", \"30\"]");
    double began = fake_now();
    h.cancel_at_s = began + 0.3;
    CHECK_INT(fake_run(&h), SLUICE_CANCELLED);
    CHECK(fake_now() - began < 1.3);
    fake_host_finish(&h);
}

TEST(a_cancelled_program_that_ignores_it_is_killed) {
    begin("[\"sh\", \"-c\", \"trap '' TERM; while :; do sleep 0.1; done\"]");
    double began = fake_now();
    h.cancel_at_s = began + 0.3;
    CHECK_INT(fake_run(&h), SLUICE_CANCELLED);
    CHECK(fake_now() - began > 2.0);
    CHECK(fake_now() - began < 3.3);
    fake_host_finish(&h);
}

TEST(a_cancelled_job_is_not_started) {
    begin("[\"sh\", \"-c\", \"exit 3\"]");
    h.cancel_at_s = fake_now();
    CHECK_INT(fake_run(&h), SLUICE_CANCELLED);
    CHECK_STR(h.message, "sh was not started");
    fake_host_finish(&h);
}

TEST(the_group_dies_with_its_program) {
    begin(SH("sleep 30 >/dev/null 2>&1 & echo $! > \\\"$1\\\"") "\"${out.pid}\"]");
    fake_param(&h, "outputs", "{\"pid\": \"text/1\"}");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    pid_t pid = (pid_t)atoi(fake_output(&h, "pid"));
    CHECK(pid > 1);
    char path[64], state = 'R';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    for (int i = 0; i < 100 && state != 'Z'; i++) { /* gone, or waiting for its new parent */
        FILE *f = fopen(path, "r");
        if (!f || fscanf(f, "%*d %*s %c", &state) != 1)
            state = 'Z';
        if (f)
            fclose(f);
        usleep(10000);
    }
    CHECK_INT(state, 'Z');
    fake_host_finish(&h);
}

TEST(a_process_that_left_the_group_does_not_hold_us_up) {
    begin("[\"sh\", \"-c\", \"setsid sleep 5 & exit 0\"]");
    double began = fake_now();
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK(fake_now() - began < 3);
    fake_host_finish(&h);
}

TEST(much_on_standard_error_is_passed_on) {
    char path[96], line[64];
    begin("[\"sh\", \"-c\", \"seq 1 200000 >&2; echo the end >&2; exit 1\"]");
    snprintf(path, sizeof path, "%s/stderr", h.folder);
    int was = dup(2), log = open(path, O_CREAT | O_RDWR, 0600);
    dup2(log, 2);
    int32_t status = fake_run(&h);
    dup2(was, 2);
    CHECK_INT(status, SLUICE_INTERNAL);
    CHECK_HAS(h.message, "its last line on standard error: \"the end\"");
    off_t size = lseek(log, 0, SEEK_END);
    CHECK_INT(size, 1288895 + 8);
    ssize_t n = pread(log, line, sizeof line - 1, size - 8);
    CHECK_INT(n, 8);
    line[n] = '\0';
    CHECK_STR(line, "the end\n");
    fake_host_finish(&h);
}

TEST(closing_standard_error_early_is_no_end) {
    begin(SH("exec 2>&-; sleep 0.5; echo x > \\\"$1\\\"") "\"${out.text}\"]");
    fake_param(&h, "outputs", "{\"text\": \"text/1\"}");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_STR(fake_output(&h, "text"), "x\n");
    fake_host_finish(&h);
}

TEST(heartbeats_go_on_while_it_works) {
    begin("[\"sleep\", \"5.4\"]");
    CHECK_INT(fake_run(&h), SLUICE_OK);
    CHECK_INT(h.n_progress, 2); /* at its start and after five seconds */
    fake_host_finish(&h);
}

TEST_MAIN()
