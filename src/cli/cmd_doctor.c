/* cmd_doctor.c - `millrace doctor`: checks all of a data folder while no node runs: the store's
 * files (store/doctor.h), the broker's (mqtt/check.h), the sinks' cursors, the registry's database,
 * the audit log's chain, and that nobody but the owner may read the files that let people in. Exit
 * status 0: nothing found; 1: findings, or not possible. */
#include "access/audit.h"
#include "cli/cli.h"
#include "mqtt/check.h"
#include "os/put_aside.h"
#include "resource/persist.h"
#include "sinks/sinks.h"
#include "store/doctor.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct doctoring {
    const struct cli_args *args;
    char data[3900];
    unsigned findings;
    bool has_header;
};

static void print_json(const struct doctor_row *row)
{
    struct buf out = BUF_EMPTY;
    buf_add_text(&out, "{\"object\":");
    buf_add_json(&out, str_of(row->object));
    buf_printf(&out, ",\"state\":\"%s\",\"text\":", doctor_state_text(row->state));
    buf_add_json(&out, str_of(row->text));
    buf_add_text(&out, ",\"todo\":");
    buf_add_json(&out, str_of(row->todo));
    buf_add_char(&out, '}');
    puts(buf_cstr(&out));
    buf_free(&out);
}

static void print_row(void *arg, const struct doctor_row *row)
{
    struct doctoring *d = arg;
    d->findings += row->state != DOCTOR_OK && row->state != DOCTOR_NOTE;
    if (cli_value(d->args, "--json")) {
        print_json(row);
        return;
    }
    if (!d->has_header) printf("%-28s %-9s %s\n", "OBJECT", "STATE", "WHAT IT MEANS; WHAT TO DO");
    d->has_header = true;
    printf("%-28s %-9s %s%s%s\n", row->object, doctor_state_text(row->state), row->text,
           row->todo[0] ? "; " : "", row->todo);
}

static void tell(struct doctoring *d, enum doctor_state state, const char *object, const char *text,
                 const char *todo)
{
    struct doctor_row row = {.state = state};
    (void)str_copy(row.object, sizeof row.object, str_of(object));
    (void)str_copy(row.text, sizeof row.text, str_of(text));
    (void)str_copy(row.todo, sizeof row.todo, str_of(todo));
    print_row(d, &row);
}

/* ---- what the broker keeps, and sinks ---- */

static void tell_of_broker(void *arg, enum broker_check_state state, const char *object,
                           const char *text, const char *todo)
{
    static const enum doctor_state states[] = {[BROKER_CHECK_OK] = DOCTOR_OK,
                                               [BROKER_CHECK_NOTE] = DOCTOR_NOTE,
                                               [BROKER_CHECK_LEFTOVER] = DOCTOR_LEFTOVER,
                                               [BROKER_CHECK_DAMAGED] = DOCTOR_DAMAGED,
                                               [BROKER_CHECK_REPAIRED] = DOCTOR_REPAIRED};
    tell(arg, states[state], object, text, todo);
}

struct cursors {
    struct doctoring *doctoring;
    struct os *os;
    char folder[4000];
};

static enum err check_cursor(void *arg, const char *name)
{
    struct cursors *c = arg;
    struct buf text = BUF_EMPTY;
    struct store_place place;
    struct why why = WHY_NONE;
    char path[4300], object[96];
    bool repair = cli_value(c->doctoring->args, "--repair") != NULL;
    snprintf(path, sizeof path, "%s/%.256s", c->folder, name);
    snprintf(object, sizeof object, "sinks/%.80s", name);
    size_t size = strlen(name);
    if (size > 6 && strcmp(name + size - 6, ".fresh") == 0) {
        tell(c->doctoring, DOCTOR_NOTE, object, "a cursor that was being written",
             "nothing: the sink writes it anew");
        return ERR_OK;
    }
    enum err err = os_read_whole(c->os, path, &text, &why);
    bool is_whole = !err && sink_cursor_parse(buf_str(&text), &place);
    buf_free(&text);
    if (is_whole) {
        tell(c->doctoring, DOCTOR_OK, object, "a sink's cursor", "");
        return ERR_OK;
    }
    tell(c->doctoring, DOCTOR_DAMAGED, object,
         err ? why_text(&why, err) : "a sink's cursor that is not as it was written",
         "its sink begins as a new one does (spec.from), so rows may come again or be missing; "
         "from: beginning sends all again");
    if (!repair) return ERR_OK;
    err = os_put_aside(c->os, c->doctoring->data, c->folder, name, object + sizeof "sinks/" - 1,
                       false, "a sink's cursor that is not as it was written\n", &why);
    tell(c->doctoring, err ? DOCTOR_DAMAGED : DOCTOR_REPAIRED, object,
         err ? why_text(&why, err) : "moved to quarantine/", "");
    return ERR_OK;
}

static void check_cursors(struct doctoring *d, struct os *os)
{
    struct cursors c = {.doctoring = d, .os = os};
    snprintf(c.folder, sizeof c.folder, "%s/sinks", d->data);
    (void)os->ops->path_list(os, c.folder, check_cursor, &c, NULL); /* none is an answer, too */
}

static void check_resources(struct doctoring *d, struct os *os)
{
    char text[256];
    struct why why = WHY_NONE;
    bool repair = cli_value(d->args, "--repair") != NULL;
    enum err err = persist_check(os, d->data, repair, text, &why);
    if (err == ERR_NOT_FOUND) return; /* a node makes one at its first start */
    if (err)
        tell(d, DOCTOR_DAMAGED, "resources.db", why_text(&why, err), "");
    else if (strcmp(text, "ok") == 0)
        tell(d, DOCTOR_OK, "resources.db", "SQLite's integrity check passed, and the rows' sums",
             "");
    else if (strstr(text, "not as it was written"))
        tell(d, repair ? DOCTOR_REPAIRED : DOCTOR_DAMAGED, "resources.db", text,
             repair ? "such documents were taken out; apply them again"
                    : "apply it again; --repair takes such documents out");
    else
        tell(d, DOCTOR_DAMAGED, "resources.db", text, "take it from a backup");
}

static void check_audit(struct doctoring *d, struct os *os)
{
    char folder[4000], text[128];
    struct audit_report report;
    struct why why = WHY_NONE;
    snprintf(folder, sizeof folder, "%s/audit", d->data);
    enum err err = audit_verify(os, folder, &report, &why);
    if (err == ERR_NOT_FOUND) return;
    if (err) {
        tell(d, DOCTOR_DAMAGED, "audit", why_text(&why, err),
             "keep the folder as evidence; a node begins a new chain without it");
        return;
    }
    snprintf(text, sizeof text, "%llu lines, the chain is whole",
             (unsigned long long)report.line_count);
    tell(d, DOCTOR_OK, "audit", text, "");
}

/* What lets people in is the owner's alone. */
static void check_modes(struct doctoring *d)
{
    static const char *const names[] = {"access", "admin.token", "resources.db", "tls-key.pem"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[4000];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", d->data, names[i]);
        if (stat(path, &st) || !(st.st_mode & 077)) continue;
        bool repaired = cli_value(d->args, "--repair") && chmod(path, 0600) == 0;
        tell(d, repaired ? DOCTOR_REPAIRED : DOCTOR_DAMAGED, names[i],
             repaired ? "others could read it; it is the owner's alone again"
                      : "others than the owner can read it",
             repaired ? "if they may have, change passwords and tokens" : "chmod 600");
    }
}

int cli_doctor(const struct cli_args *args)
{
    struct doctoring d = {.args = args};
    struct doctor_sink sink = {print_row, &d};
    struct why why = WHY_NONE;
    umask(077);
    cli_data_folder(args, d.data, sizeof d.data);
    struct os *os = os_real_new();
    enum err err = os ? store_doctor(os, d.data, cli_value(args, "--repair") != NULL, &sink, &why)
                      : ERR_NO_MEMORY;
    struct broker_check_sink broker_sink = {tell_of_broker, &d};
    if (!err)
        err = broker_check(os, d.data, cli_value(args, "--repair") != NULL, &broker_sink, &why);
    if (!err) {
        check_cursors(&d, os);
        check_resources(&d, os);
        check_audit(&d, os);
        check_modes(&d);
    }
    os_real_free(os);
    if (err) return cli_fail(args, CLI_FAILED, "%s", why_text(&why, err));
    if (!cli_value(args, "--json")) printf("%u findings\n", d.findings);
    return d.findings ? CLI_FAILED : CLI_OK;
}
