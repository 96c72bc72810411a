/* cmd_reference.c - `millrace reference TOPIC`: the reference manual in Markdown, printed from the
 * program's own tables, so that it cannot say what is not so. docs/reference/ is filled from here
 * by `./dev docs`. */
#include "cli/cli.h"
#include "listeners/api.h"
#include "listeners/list_source.h"
#include "listeners/sys_source.h"
#include "loop/context.h"
#include "node/config.h"
#include "resource/kind.h"
#include "sql/reference.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *field_type_name(enum field_type type)
{
    static const char *const names[] = {
        [FIELD_BOOL] = "true/false",       [FIELD_INT] = "whole number",  [FIELD_DOUBLE] = "number",
        [FIELD_STRING] = "text",           [FIELD_DURATION] = "duration", [FIELD_ENUM] = "choice",
        [FIELD_STRINGS] = "list of texts", [FIELD_MAP] = "map",           [FIELD_OBJECT] = "object",
        [FIELD_LIST] = "list of objects",  [FIELD_DOC] = "anything",
    };
    return names[type];
}

static void print_type(const struct field *f)
{
    printf("%s", field_type_name(f->type));
    for (size_t i = 0; f->type == FIELD_ENUM && f->choices[i]; i++)
        printf("%s`%s`", i ? ", " : ": ", f->choices[i]);
    if (f->min != 0 || f->max != 0)
        printf(", %g to %g%s", f->min, f->max, f->type == FIELD_DURATION ? " s" : "");
}

static void print_fields(const struct field *fields, const char *prefix)
{
    for (const struct field *f = fields; f->name; f++) {
        printf("| `%s%s` | ", prefix, f->name);
        print_type(f);
        printf(" | %s%s%s | %s | %s |\n",
               f->flags & FIELD_REQUIRED ? "required"
               : f->default_text         ? "`"
                                         : "",
               f->flags & FIELD_REQUIRED || !f->default_text ? "" : f->default_text,
               f->flags & FIELD_REQUIRED || !f->default_text ? "" : "`", f->help_en,
               f->help_zh ? f->help_zh : "");
        if (!f->sub) continue;
        char deeper[128];
        snprintf(deeper, sizeof deeper, "%s%s%s.", prefix, f->name,
                 f->type == FIELD_LIST ? "[]" : "");
        print_fields(f->sub, deeper);
    }
}

static void print_kinds(void)
{
    for (int k = 0; k < KIND_COUNT; k++) {
        const struct kind_info *info = &resource_kinds[k];
        printf(
            "## %s\n\n%s. %s。\n\nPlural `%s`%s.\n\n| field of `spec` | type | default | meaning | 说明 |\n|---|---|---|---|---|\n",
            info->name, info->help_en, info->help_zh, info->plural,
            info->namespaced ? ", in a namespace" : "");
        print_fields(info->fields, "");
        putchar('\n');
    }
}

static void print_settings(void)
{
    printf("| key of node.yaml | type | default | meaning | 说明 |\n|---|---|---|---|---|\n");
    print_fields(node_config_fields, "");
}

static void print_errors(void)
{
    printf("| code | text | HTTP | SQLSTATE |\n|---|---|---|---|\n");
    for (int e = 1; e < ERR_COUNT; e++)
        printf("| `%s` | %s | %d | `%s` |\n", err_name((enum err)e), err_text((enum err)e),
               err_http_status((enum err)e), err_sqlstate((enum err)e));
}

static void print_metrics(void)
{
    printf("| metric | kind | unit | meaning |\n|---|---|---|---|\n");
    for (int m = 0; m < METRIC_COUNT; m++) {
        const struct metric_info *info = metric_info((enum metric)m);
        printf("| `%s` | %s | %s | %s |\n", info->name,
               info->kind == METRIC_KIND_COUNTER ? "counter" : "gauge", info->unit, info->help);
    }
}

static void print_system_tables(void)
{
    size_t count;
    const struct list_table *tables = sys_table_list(&count);
    for (size_t i = 0; i < count; i++) {
        printf("## %s.%s\n\n%s.\n\n| column | type | unit |\n|---|---|---|\n", tables[i].schema,
               tables[i].name, tables[i].description);
        for (const struct list_column *c = tables[i].columns; c->name; c++)
            printf("| `%s` | %s | %s |\n", c->name, type_name(c->type), c->unit);
        putchar('\n');
    }
}

static void print_routes(void)
{
    printf("| method | path | login | does |\n|---|---|---|---|\n");
    for (const struct http_route *r = api_routes; r->path; r++)
        printf("| %s | `%s` | %s | %s |\n", strcmp(r->method, "*") == 0 ? "any" : r->method,
               r->path, r->flags & API_NO_LOGIN ? "no" : "yes", r->help);
}

static void print_commands(void)
{
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        printf("## millrace %s %s\n\n%s.\n\n", c->name, c->synopsis, c->help);
        if (!c->options->name) continue;
        printf("| option | meaning |\n|---|---|\n");
        for (const struct cli_option *o = c->options; o->name; o++)
            printf("| `%s%s%s` | %s |\n", o->name, o->value ? " " : "", o->value ? o->value : "",
                   o->help);
        putchar('\n');
    }
}

static void print_drivers(void)
{
    struct buf out = BUF_EMPTY;
    struct context context = {.os = os_real_new()};
    if (!context.os) return;
    collect_describe_drivers(&context, &out);
    printf("%.*s", (int)out.size, out.at);
    buf_free(&out);
    os_real_free(context.os);
}

/* In a table's cell: bars would end it. */
static void print_escaped(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c == '|')
            printf("\\|");
        else if (*c == '\n')
            printf("<br>");
        else
            putchar(*c);
}

static void print_cell(const char *text)
{
    print_escaped(text);
    printf(" | ");
}

static void print_function(const struct reference_row *r)
{
    struct buf types = BUF_EMPTY;
    reference_add_types(&types, r->args);
    printf("| `");
    print_escaped(r->name);
    printf("` | %.*s | ", (int)types.size, types.at ? types.at : "");
    buf_clear(&types);
    reference_add_types(&types, (char[]){r->result, 0});
    printf("%.*s | ", (int)types.size, types.at ? types.at : "");
    buf_free(&types);
    print_cell(r->help);
    print_cell(r->help_zh);
    print_cell(r->example);
    print_cell(r->answer);
    putchar('\n');
}

static void print_functions(void)
{
    const char *kind = "";
    printf(
        "Examples are statements, or expressions: those of windows, aggregates and functions of rows are asked of "
        "all rows of this table, the others of its first row. The tests run each of them.\n\n```sql\n");
    for (const char *const *s = reference_demo; *s; s++) printf("%s;\n", *s);
    printf("```\n\n");
    for (size_t i = 0; i < reference_count(); i++) {
        struct reference_row r = reference_at(i);
        if (strcmp(r.kind, kind) != 0)
            printf(
                "%s## %c%ss\n\n| name | takes | gives | meaning | 说明 | example | answer |\n|---|---|---|---|---|---|---|\n",
                i ? "\n" : "", r.kind[0] - 32, r.kind + 1);
        kind = r.kind;
        print_function(&r);
    }
}

static const struct {
    const char *name;
    void (*print)(void);
} topics[] = {
    {"kinds", print_kinds},         {"errors", print_errors},        {"metrics", print_metrics},
    {"http", print_routes},         {"commands", print_commands},    {"drivers", print_drivers},
    {"functions", print_functions}, {"tables", print_system_tables}, {"settings", print_settings},
};

int cli_reference(const struct cli_args *args)
{
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        if (strcmp(args->words[0], topics[i].name) != 0) continue;
        topics[i].print();
        return CLI_OK;
    }
    return cli_fail(
        args, CLI_USAGE,
        "topic '%s': must be kinds, errors, metrics, http, commands, drivers, functions, tables or settings",
        args->words[0]);
}
