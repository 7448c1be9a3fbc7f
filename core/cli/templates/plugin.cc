/*
 * The plugin @NAME@: one stage, @NAME@/hello, which greets whoever its input names. C++11.
 *
 * A stage is declared as data, at the end of this file; describing a plugin runs none of its code.
 * It runs in a process of its own: create() once, process() for each job, destroy() at the end.
 * <sluice/plugin.h> says what is promised. No exception may leave a function that the host calls:
 * guarded() turns them into a message and a class.
 */
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include <sluice/plugin.h>

namespace {

class Hello {
  public:
    explicit Hello(const sluice_host *host) : host_(host) {
        const char *greeting = nullptr;
        if (host->param_string(host, "greeting", &greeting) == SLUICE_OK)
            greeting_ = greeting;
        host->param_int(host, "times", &times_);
    }

    int32_t process(sluice_job *job) const {
        std::string name;
        int32_t rc = read_name(job, &name);
        if (rc < 0)
            return rc;

        // Work that takes long calls progress() as its heartbeat, and stops within a second of
        // being cancelled.
        host_->progress(job, 0, "greeting");
        if (host_->cancelled(job))
            return SLUICE_CANCELLED;

        std::string text;
        for (int64_t i = 0; i < times_; i++)
            text += greeting_ + ", " + name + "!\n";
        return write(job, text);
    }

    // On failure: say why with fail(), and return the class that decides about a retry
    // (<sluice/types.h>).
    int32_t fail(sluice_job *job, int32_t status, const char *message) const {
        host_->fail(job, message);
        return status;
    }

  private:
    int32_t read_name(sluice_job *job, std::string *ret) const {
        sluice_view view = sluice_view();
        view.size = SLUICE_SIZED(sluice_view);
        int32_t rc = host_->input(job, "name", &view);
        if (rc < 0 && rc != SLUICE_UNSUPPORTED)
            return fail(job, rc, "the input \"name\" cannot be read");
        if (rc == SLUICE_UNSUPPORTED) // optional, and not connected
            *ret = "world";
        else
            ret->assign(static_cast<const char *>(view.data), view.len);
        while (!ret->empty() && ret->back() == '\n')
            ret->pop_back();
        if (ret->empty()) // never retried: nobody can process this
            return fail(job, SLUICE_INPUT,
                        "the input \"name\" is empty, so there is nobody to greet");
        return SLUICE_OK;
    }

    int32_t write(sluice_job *job, const std::string &text) const {
        void *data = nullptr;
        int32_t rc = host_->output_grow(job, "text", text.size(), &data);
        if (rc < 0)
            return rc; // the host has said why
        std::memcpy(data, text.data(), text.size());
        return host_->output_commit(job, "text", text.size());
    }

    const sluice_host *host_;
    std::string greeting_ = "Hello";
    int64_t times_ = 1;
};

// Runs `work`; what it throws becomes a class and, through `say`, a message.
template <class Work, class Say> int32_t guarded(Work work, Say say) {
    try {
        return work();
    } catch (const std::bad_alloc &) {
        say("out of memory");
        return SLUICE_RESOURCE;
    } catch (const std::exception &e) {
        say(e.what());
    } catch (...) {
        say("an exception of an unknown kind");
    }
    return SLUICE_INTERNAL;
}

int32_t create(const sluice_host *host, void **ret_self) {
    return guarded(
        [&] {
            *ret_self = new Hello(host);
            return SLUICE_OK;
        },
        [&](const char *message) { host->error(host, message); });
}

int32_t process(void *self, sluice_job *job) {
    const Hello *hello = static_cast<const Hello *>(self);
    return guarded([&] { return hello->process(job); },
                   [&](const char *message) { hello->fail(job, SLUICE_INTERNAL, message); });
}

void destroy(void *self) {
    delete static_cast<Hello *>(self);
}

// ---- The declaration: members in the order of <sluice/plugin.h> ----

const sluice_port name_in = {SLUICE_SIZED(sluice_port), SLUICE_PORT_OPTIONAL, "name",
                             SLUICE_TYPE_TEXT, "Who is greeted; without it the world is."};
const sluice_port text_out = {SLUICE_SIZED(sluice_port), 0, "text", SLUICE_TYPE_TEXT,
                              "The greeting."};

const sluice_param greeting_param = {SLUICE_SIZED(sluice_param),
                                     SLUICE_PARAM_STRING,
                                     0,
                                     0,
                                     "greeting",
                                     "Hello" /* default */,
                                     0,
                                     0,
                                     nullptr /* choices */,
                                     nullptr /* unit */,
                                     "The word before the name."};
const sluice_param times_param = {SLUICE_SIZED(sluice_param),
                                  SLUICE_PARAM_INT,
                                  SLUICE_PARAM_RANGED,
                                  0,
                                  "times",
                                  "1" /* default */,
                                  1,
                                  100,
                                  nullptr /* choices */,
                                  nullptr /* unit */,
                                  "How often the greeting is written."};

const sluice_port *const inputs[] = {&name_in, nullptr};
const sluice_port *const outputs[] = {&text_out, nullptr};
const sluice_param *const params[] = {&greeting_param, &times_param, nullptr};

const sluice_stage hello = {
    SLUICE_SIZED(sluice_stage),
    SLUICE_STAGE_DETERMINISTIC, // same inputs and parameters give the same bytes
    "@NAME@/hello",
    "1", // version of the results: change it when they change
    "Greets somebody.",
    inputs,
    outputs,
    params,
    1, // max_jobs
    0,
    create,
    process,
    destroy,
    nullptr}; // extension
const sluice_stage *const stages[] = {&hello, nullptr};

} // namespace

SLUICE_EXPORT const sluice_plugin sluice_plugin_entry = {SLUICE_PLUGIN_HEADER, "@NAME@", "0.1.0",
                                                         "MIT", stages};
