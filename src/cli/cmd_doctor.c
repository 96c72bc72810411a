/* cmd_doctor.c - `millrace doctor`: checks all of a data folder while no node runs: the store's
 * files (store/doctor.h), the registry's database, the audit log's chain, and that nobody but the
 * owner may read the files that let people in. Exit status 0: nothing found; 1: findings, or not
 * possible. */
#include "access/audit.h"
#include "cli/cli.h"
#include "resource/persist.h"
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
    if (!err) {
        check_resources(&d, os);
        check_audit(&d, os);
        check_modes(&d);
    }
    os_real_free(os);
    if (err) return cli_fail(args, CLI_FAILED, "%s", why_text(&why, err));
    if (!cli_value(args, "--json")) printf("%u findings\n", d.findings);
    return d.findings ? CLI_FAILED : CLI_OK;
}
