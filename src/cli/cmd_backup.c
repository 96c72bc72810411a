/* cmd_backup.c - `millrace backup` asks the running node for one and shows how far it is; `millrace
 * restore` puts one back where no node runs.
 *
 * Restoring goes into a new folder beside the target, which takes the target's place by one rename
 * when all of it is on the disk. With --force what was there is moved aside, not removed. */
#include "base/num.h"
#include "base/timetext.h"
#include "cli/api.h"
#include "store/store.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { POLL_MS = 200, BAR_CELLS = 30 };

/* ---- backup ---- */

static bool is_json(const struct cli_args *args)
{
    return cli_value(args, "--json") != NULL;
}

static uint64_t number_of(const struct doc *doc, const char *key)
{
    uint64_t value = 0;
    const struct doc *given = doc_get(doc, key);
    if (given) (void)num_parse_u64(given->text, &value);
    return value;
}

/* On a terminal only. */
static void show_bar(const struct doc *state)
{
    uint64_t done = number_of(state, "doneBytes"), total = number_of(state, "totalBytes");
    if (!isatty(STDERR_FILENO)) return;
    int cells = total ? (int)(done >= total ? BAR_CELLS : done * BAR_CELLS / total) : 0;
    fprintf(stderr, "\r[%-*.*s] %" PRIu64 " of %" PRIu64 " MB", BAR_CELLS, cells,
            "##############################", done / 1000000, total / 1000000);
}

static void print_result(const struct doc *state, struct str to, struct str name, struct str taken)
{
    struct buf out = BUF_EMPTY;
    buf_add_text(&out, "{\"to\":");
    buf_add_json(&out, to);
    buf_add_text(&out, ",\"name\":");
    buf_add_json(&out, name);
    buf_printf(&out, ",\"position\":%" PRIu64 ",\"taken\":", number_of(state, "position"));
    buf_add_json(&out, taken);
    buf_printf(&out, ",\"parts\":%" PRIu64 ",\"copied\":%" PRIu64 ",\"bytes\":%" PRIu64 "}",
               number_of(state, "parts"), number_of(state, "copied"), number_of(state, "bytes"));
    puts(buf_cstr(&out) ? out.at : "{}");
    buf_free(&out);
}

static int show_end(const struct cli_args *args, const struct doc *state)
{
    struct str error = doc_text(doc_get(state, "error")), taken = doc_text(doc_get(state, "taken"));
    struct str to = doc_text(doc_get(state, "to")), name = doc_text(doc_get(state, "name"));
    if (isatty(STDERR_FILENO)) fputc('\n', stderr);
    if (!str_is(doc_text(doc_get(state, "state")), "done"))
        return cli_fail(args, CLI_FAILED, "%.*s", (int)error.size, error.at ? error.at : "");
    uint64_t parts = number_of(state, "parts"), copied = number_of(state, "copied");
    if (is_json(args))
        print_result(state, to, name, taken);
    else
        printf("backup %.*s in %.*s: everything up to %.*s, %" PRIu64 " parts, %" PRIu64
               " of them new\n",
               (int)name.size, name.at, (int)to.size, to.at, (int)taken.size, taken.at, parts,
               copied);
    return CLI_OK;
}

static struct doc *ask(struct api *api, const char *method, struct str body)
{
    struct buf path = BUF_EMPTY;
    buf_add_text(&path, "/v1/backup");
    struct doc *doc = api_call(api, method, &path, API_JSON, "application/json", body);
    buf_free(&path);
    return doc;
}

static int run_backup(struct api *api, struct str body)
{
    struct doc *state = ask(api, "POST", body);
    while (state && str_is(doc_text(doc_get(state, "state")), "running")) {
        show_bar(state);
        cli_pause(POLL_MS);
        state = ask(api, "GET", STR(""));
    }
    return state ? show_end(api->args, state) : api_fail(api);
}

/* "10M" and the like: bytes with k, M or G (thousands). */
static bool parse_rate(const char *text, uint64_t *rate)
{
    struct str s = str_of(text);
    uint64_t factor = 1;
    char last = s.size ? s.at[s.size - 1] : 0;
    if (last == 'k' || last == 'M' || last == 'G') {
        factor = last == 'k' ? 1000 : last == 'M' ? 1000000 : 1000000000;
        s.size--;
    }
    if (!num_parse_u64(s, rate) || !*rate || *rate > UINT64_MAX / 2 / factor) return false;
    *rate *= factor;
    return true;
}

int cli_backup(const struct cli_args *args)
{
    const char *to = cli_value(args, "--to"), *keep = cli_value(args, "--keep"),
               *rate = cli_value(args, "--rate");
    char here[4096] = "";
    uint64_t kept = 0, bytes_per_s = 0;
    if (!to || !to[0]) return cli_fail(args, CLI_USAGE, "usage: millrace backup --to DIR");
    if (keep && (!num_parse_u64(str_of(keep), &kept) || !kept))
        return cli_fail(args, CLI_USAGE, "--keep must be a number of backups, 1 or more");
    if (rate && !parse_rate(rate, &bytes_per_s))
        return cli_fail(args, CLI_USAGE, "--rate must be bytes a second, such as 20M");
    if (to[0] != '/' && !getcwd(here, sizeof here))
        return cli_fail(args, CLI_FAILED, "%s", strerror(errno));
    struct api api;
    struct buf path = BUF_EMPTY, body = BUF_EMPTY;
    buf_printf(&path, "%s%s%s", here, here[0] ? "/" : "", to);
    buf_add_text(&body, "{\"to\":");
    buf_add_json(&body, buf_str(&path));
    buf_printf(&body, ",\"keep\":%" PRIu64 ",\"bytesPerSecond\":%" PRIu64 "}", kept, bytes_per_s);
    int code = CLI_FAILED;
    if (api_open(&api, args)) {
        code = run_backup(&api, buf_str(&body));
        api_close(&api);
    }
    buf_free(&path);
    buf_free(&body);
    return code;
}

/* ---- restore ---- */

static enum err found_one(void *arg, const char *name)
{
    (void)name;
    *(bool *)arg = true;
    return ERR_EXISTS; /* one is enough */
}

/* Whether something is at the target, and may be moved aside. */
static enum err check_target(struct os *os, const char *data, bool force, bool *is_used,
                             struct why *why)
{
    struct os_file *lock;
    char path[4096];
    *is_used = false;
    enum err err = os->ops->path_list(os, data, found_one, is_used, why);
    if (err == ERR_NOT_FOUND) return ERR_OK;
    if (err && !*is_used) return err;
    if (*is_used && !force)
        return why_set(why, ERR_EXISTS, "%s is not empty; --force moves it aside first", data);
    snprintf(path, sizeof path, "%s/lock", data);
    if (os->ops->file_open(os, path, OS_FILE_WRITE, &lock, NULL) == ERR_OK) {
        err = os->ops->file_lock(lock, why);
        os->ops->file_close(lock);
        if (err) return why_set(why, err, "a node runs on %s; stop it first", data);
    }
    return ERR_OK;
}

/* `aside` receives where what was there went ("" = nothing was). */
static enum err clear_target(struct os *os, const char *data, bool is_used, char aside[4096],
                             struct why *why)
{
    struct os_path_info info;
    if (!is_used && os->ops->path_info(os, data, &info, NULL) == ERR_NOT_FOUND) return ERR_OK;
    if (!is_used) return os->ops->path_remove(os, data, why);
    snprintf(aside, 4096, "%s.before-restore-%" PRId64, data, os->ops->wall_ns(os) / 1000000000);
    return os->ops->path_rename(os, data, aside, why);
}

/* A restore that was cut off left it; inner folders go first. */
static enum err remove_one(void *arg, const char *name)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", (const char *)arg, name);
    (void)remove(path);
    return ERR_OK;
}

static void remove_temporary(struct os *os, char *folder)
{
    static const char *const inner[] = {"/parts", "/log", "/mqtt/queues", "/mqtt", "/sinks", ""};
    char path[4200];
    for (size_t i = 0; i < sizeof inner / sizeof inner[0]; i++) {
        snprintf(path, sizeof path, "%s%s", folder, inner[i]);
        (void)os->ops->path_list(os, path, remove_one, path, NULL);
        (void)os->ops->path_remove(os, path, NULL);
    }
}

static enum err sync_parent_of(struct os *os, const char *path, struct why *why)
{
    char parent[4096];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash) slash[slash == parent] = 0;
    return os->ops->path_sync(os, slash ? parent : ".", why);
}

static enum err restore(struct os *os, const struct cli_args *args, const char *data,
                        struct store_backup_info *info, char aside[4096], struct why *why)
{
    char fresh[4000];
    bool is_used;
    snprintf(fresh, sizeof fresh, "%s.restoring", data);
    enum err err = check_target(os, data, cli_value(args, "--force") != NULL, &is_used, why);
    if (err) return err;
    remove_temporary(os, fresh);
    err = store_restore(os, cli_value(args, "--from"), cli_value(args, "--name"), fresh, info, why);
    if (!err) err = clear_target(os, data, is_used, aside, why);
    if (!err) err = os->ops->path_rename(os, fresh, data, why);
    if (err && aside[0] && os->ops->path_info(os, data, &(struct os_path_info){0}, NULL)) {
        (void)os->ops->path_rename(os, aside, data, NULL); /* as it was, rather than nothing */
        aside[0] = 0;
    }
    if (!err) err = sync_parent_of(os, data, why);
    if (err) remove_temporary(os, fresh);
    return err;
}

int cli_restore(const struct cli_args *args)
{
    char data[3900], aside[4096] = "";
    struct store_backup_info info;
    struct why why = WHY_NONE;
    struct buf taken = BUF_EMPTY;
    if (!cli_value(args, "--from"))
        return cli_fail(args, CLI_USAGE, "usage: millrace restore --from DIR --data DIR");
    umask(077);
    cli_data_folder(args, data, sizeof data);
    for (size_t size = strlen(data); size > 1 && data[size - 1] == '/';) data[--size] = 0;
    struct os *os = os_real_new();
    enum err err = os ? restore(os, args, data, &info, aside, &why) : ERR_NO_MEMORY;
    os_real_free(os);
    if (err) return cli_fail(args, CLI_FAILED, "%s", why_text(&why, err));
    buf_add_time(&taken, info.taken_ns);
    if (is_json(args))
        printf("{\"name\":\"%s\",\"position\":%" PRIu64
               ",\"taken\":\"%s\",\"files\":%zu,\"bytes\":%" PRIu64 "}\n",
               info.name, info.position, buf_cstr(&taken), info.files, info.size_bytes);
    else
        printf("restored %s to %s: everything up to %s, %zu files, %" PRIu64 " bytes\n", info.name,
               data, buf_cstr(&taken), info.files, info.size_bytes);
    if (info.damaged[0])
        fprintf(stderr, "the index of the newer backup %s is damaged; this one was taken instead\n",
                info.damaged);
    if (aside[0]) fprintf(stderr, "what was there is now in %s\n", aside);
    buf_free(&taken);
    return CLI_OK;
}
