/* pg_function.c - the functions of PostgreSQL that clients call beside its catalogue: who and where
 * am I, what is this object called, may I.
 *
 * They are rows like the engine's own (sql/func.h); what they need of the session comes as
 * eval->session, a struct pg_catalog. Their arguments and results follow PostgreSQL 15
 * documentation, "System Information Functions". */
#include "listeners/pg_priv.h"
#include "listeners/pg_catalog.h"
#include "sql/agg.h"
#include "sql/func.h"
#include <string.h>

#define KERNEL(NAME)                                                                               \
    static enum err NAME(struct eval *eval, const struct expr *e, const struct vector *args,       \
                         const struct view *view, struct vector *out)
#define EACH_ROW(row)                                                                              \
    (void)eval, (void)e, (void)args;                                                               \
    for (uint32_t k = 0, row; k < view->selected && (row = view_row(view, k), true); k++)          \
        if (!vector_is_null(out, row))
#define TEXT(n)    (args[n].s[vector_at(&args[n], row)])
#define INTEGER(n) (args[n].i[vector_at(&args[n], row)])

static const struct pg_catalog *catalog_of(const struct eval *eval)
{
    MUST(eval->session);
    return eval->session;
}

static void set_null(struct vector *out, uint32_t row)
{
    out->null[row] = 1;
}

/* For rows of the list with FN_NULLS, whose NULLs are still to be looked at. */
static bool is_null_row(const struct vector *args, struct vector *out, uint32_t row)
{
    if (!vector_is_null(&args[0], row)) return false;
    set_null(out, row);
    return true;
}

/* A text that lives at least as long as the statement's chunk; NULL gives NULL. */
static enum err set_text(struct eval *eval, struct vector *out, uint32_t row, const char *text)
{
    if (!text) {
        set_null(out, row);
        out->s[row] = STR("");
        return ERR_OK;
    }
    char *copy = arena_strdup(&eval->scratch, text, strlen(text));
    if (!copy) return expr_no_memory(eval->budget, eval->why);
    out->s[row] = str_of(copy);
    return ERR_OK;
}

/* ---- one text, the same for all rows ---- */

#define TEXT_FUNCTION(NAME, VALUE)                                                                 \
    KERNEL(NAME)                                                                                   \
    {                                                                                              \
        const struct pg_catalog *c = catalog_of(eval);                                             \
        (void)c;                                                                                   \
        EACH_ROW(row)                                                                              \
        {                                                                                          \
            enum err err = set_text(eval, out, row, VALUE);                                        \
            if (err) return err;                                                                   \
        }                                                                                          \
        return ERR_OK;                                                                             \
    }
#define NUMBER_FUNCTION(NAME, VALUE)                                                               \
    KERNEL(NAME)                                                                                   \
    {                                                                                              \
        EACH_ROW(row) out->i[row] = VALUE;                                                         \
        return ERR_OK;                                                                             \
    }
#define BOOL_FUNCTION(NAME, VALUE)                                                                 \
    KERNEL(NAME)                                                                                   \
    {                                                                                              \
        EACH_ROW(row) out->b[row] = VALUE;                                                         \
        return ERR_OK;                                                                             \
    }

TEXT_FUNCTION(version, "PostgreSQL 14.0 (Millrace " MILLRACE_VERSION ")")
TEXT_FUNCTION(user_name, pg_user_name(c))
TEXT_FUNCTION(owner_name, INTEGER(0) == PG_OID_OWNER  ? "millrace"
                          : INTEGER(0) == PG_OID_USER ? pg_user_name(c)
                                                      : NULL)
TEXT_FUNCTION(schema_name, "public")
TEXT_FUNCTION(schema_names, "{pg_catalog,public}")
TEXT_FUNCTION(encoding_name, "UTF8")
TEXT_FUNCTION(no_text, NULL)
TEXT_FUNCTION(nothing, "")
NUMBER_FUNCTION(backend_pid, catalog_of(eval)->pid)
NUMBER_FUNCTION(zero, 0)
NUMBER_FUNCTION(no_oid, (set_null(out, row), 0))
BOOL_FUNCTION(yes, true)
BOOL_FUNCTION(no, false)

KERNEL(database_name)
{
    EACH_ROW(row) out->s[row] = catalog_of(eval)->ns;
    return ERR_OK;
}

/* ---- types ---- */

static const char *type_text(int64_t oid, struct arena *arena)
{
    if (oid < 0 || oid > UINT32_MAX) return NULL;
    const struct pg_type *type = pg_type_find((uint32_t)oid);
    if (type) return type->sql_name;
    for (size_t i = 0; i < pg_type_count; i++)
        if (pg_types[i].array_oid == oid) return arena_printf(arena, "%s[]", pg_types[i].sql_name);
    return oid == 0 ? "-" : "???";
}

KERNEL(format_type)
{
    EACH_ROW(row)
    {
        if (vector_is_null(&args[0], row)) {
            (void)set_text(eval, out, row, NULL);
            continue;
        }
        enum err err = set_text(eval, out, row, type_text(INTEGER(0), &eval->scratch));
        if (err) return err;
    }
    return ERR_OK;
}

KERNEL(type_number)
{
    EACH_ROW(row)
    {
        if (is_null_row(args, out, row)) continue;
        struct str name = str_trim(TEXT(0));
        if (str_starts(name, "pg_catalog.")) name = (struct str){name.at + 11, name.size - 11};
        set_null(out, row);
        for (size_t i = 0; i < pg_type_count; i++) {
            if (!str_is(name, pg_types[i].name) && !str_is(name, pg_types[i].sql_name)) continue;
            out->null[row] = 0;
            out->i[row] = pg_types[i].oid;
        }
    }
    return ERR_OK;
}

/* ---- relations ---- */

KERNEL(relation_number)
{
    EACH_ROW(row)
    {
        const struct pg_relation *r = pg_relation_named(catalog_of(eval), TEXT(0));
        if (!r)
            return why_at(eval->why, ERR_NO_TABLE, e->position, "table \"%.*s\" does not exist",
                          TEXT(0).size > 80 ? 80 : (int)TEXT(0).size, TEXT(0).at);
        out->i[row] = r->oid;
    }
    return ERR_OK;
}

KERNEL(relation_number_or_null)
{
    EACH_ROW(row)
    {
        if (is_null_row(args, out, row)) continue;
        const struct pg_relation *r = pg_relation_named(catalog_of(eval), TEXT(0));
        out->i[row] = r ? r->oid : 0;
        if (!r) set_null(out, row);
    }
    return ERR_OK;
}

KERNEL(relation_text)
{
    EACH_ROW(row)
    {
        char name[300];
        const struct pg_relation *r = pg_relation_find(catalog_of(eval), (uint32_t)INTEGER(0));
        enum err err = set_text(eval, out, row, r ? pg_relation_name(r, name) : "-");
        if (err) return err;
    }
    return ERR_OK;
}

/* Which relations a bare name finds: the namespace's tables and pg_catalog's. */
KERNEL(is_visible)
{
    EACH_ROW(row)
    {
        const struct pg_relation *r = pg_relation_find(catalog_of(eval), (uint32_t)INTEGER(0));
        out->b[row] =
            r && (r->namespace_oid == PG_OID_PUBLIC || r->namespace_oid == PG_OID_CATALOG);
    }
    return ERR_OK;
}

KERNEL(namespace_text)
{
    EACH_ROW(row)
    {
        enum err err = set_text(eval, out, row, pg_namespace_name((uint32_t)INTEGER(0)));
        if (err) return err;
    }
    return ERR_OK;
}

static const char *table_comment(const struct pg_relation *r)
{
    if (r && r->view) return r->view->description;
    return r && r->schema && r->kind == 'r' && r->schema->description[0] ? r->schema->description
                                                                         : NULL;
}

KERNEL(table_description)
{
    EACH_ROW(row)
    {
        const struct pg_relation *r = pg_relation_find(catalog_of(eval), (uint32_t)INTEGER(0));
        enum err err = set_text(eval, out, row, table_comment(r));
        if (err) return err;
    }
    return ERR_OK;
}

KERNEL(column_description)
{
    const struct pg_catalog *c = catalog_of(eval);
    EACH_ROW(row)
    {
        const char *text = NULL;
        for (size_t i = 0; i < c->attribute_count; i++) {
            const struct pg_attribute *a = &c->attributes[i];
            if (a->relation->oid == INTEGER(0) && a->number == INTEGER(1))
                text = pg_comment(&eval->scratch, a->description, a->unit);
        }
        enum err err = set_text(eval, out, row, text && text[0] ? text : NULL);
        if (err) return err;
    }
    return ERR_OK;
}

KERNEL(view_definition)
{
    EACH_ROW(row)
    {
        if (is_null_row(args, out, row)) continue;
        const struct pg_relation *r = pg_relation_find(catalog_of(eval), (uint32_t)INTEGER(0));
        struct str query = r && r->view ? r->view->query : (struct str){0};
        const char *text =
            query.at ? arena_printf(&eval->scratch, " %.*s;", (int)query.size, query.at) : NULL;
        enum err err = set_text(eval, out, row, text);
        if (err) return err;
    }
    return ERR_OK;
}

static const char *index_text(struct eval *eval, int64_t oid)
{
    const struct pg_relation *r = pg_relation_find(catalog_of(eval), (uint32_t)oid);
    if (!r || r->kind != 'i') return NULL;
    return arena_printf(&eval->scratch,
                        "CREATE UNIQUE INDEX %s_pkey ON public.%s USING btree (device, \"time\")",
                        r->schema->name, r->schema->name);
}

KERNEL(index_definition)
{
    EACH_ROW(row)
    {
        if (is_null_row(args, out, row)) continue;
        enum err err = set_text(eval, out, row, index_text(eval, INTEGER(0)));
        if (err) return err;
    }
    return ERR_OK;
}

/* One column of it, from 1; 0 means all. */
KERNEL(index_column)
{
    EACH_ROW(row)
    {
        const char *text = INTEGER(1) == 1   ? "device"
                           : INTEGER(1) == 2 ? "\"time\""
                           : INTEGER(1) == 0 ? index_text(eval, INTEGER(0))
                                             : "";
        enum err err = set_text(eval, out, row, text);
        if (err) return err;
    }
    return ERR_OK;
}

TEXT_FUNCTION(key_definition, "PRIMARY KEY (device, \"time\")")

/* ---- functions ---- */

NUMBER_FUNCTION(utf8_number, 6)

static const char *letter_text(char letter)
{
    return letter == 'D'                    ? "interval"
           : letter == '.' || letter == 'A' ? "anyelement"
                                            : pg_type_of(function_letter_type(letter))->sql_name;
}

/* Arguments and result of a row of pg_proc; false: there is no such. */
static bool find_function(int64_t oid, const char **args, char *result)
{
    size_t functions_count, aggregates_count;
    const struct function *f = function_table(&functions_count);
    const struct aggregate *a = aggregate_table(&aggregates_count);
    uint64_t n = (uint64_t)oid - PG_OID_FUNCTIONS;
    if (n >= functions_count + aggregates_count) return false;
    *args = n < functions_count ? f[n].args : a[n - functions_count].args;
    *result = n < functions_count ? f[n].result : a[n - functions_count].result;
    return true;
}

KERNEL(function_result)
{
    EACH_ROW(row)
    {
        if (is_null_row(args, out, row)) continue;
        const char *types;
        char result;
        bool found = find_function(INTEGER(0), &types, &result);
        enum err err = set_text(eval, out, row, found ? letter_text(result) : NULL);
        if (err) return err;
    }
    return ERR_OK;
}

KERNEL(function_arguments)
{
    EACH_ROW(row)
    {
        if (is_null_row(args, out, row)) continue;
        const char *types;
        char result;
        struct buf text = BUF_EMPTY;
        bool found = find_function(INTEGER(0), &types, &result);
        for (const char *l = found ? types : ""; *l; l++) {
            if (*l == '*') continue;
            if (text.size) buf_add_text(&text, ", ");
            if (l[1] == '*') buf_add_text(&text, "VARIADIC ");
            buf_add_text(&text, letter_text(*l));
        }
        enum err err = set_text(eval, out, row, text.size ? buf_cstr(&text) : "");
        buf_free(&text);
        if (err) return err;
    }
    return ERR_OK;
}

/* ---- settings ---- */

KERNEL(setting)
{
    const struct pg_catalog *c = catalog_of(eval);
    EACH_ROW(row)
    {
        if (is_null_row(args, out, row)) continue;
        int found = pg_setting_find(TEXT(0));
        struct pg_settings none = {0};
        if (found < 0 && e->arg_count == 1)
            return why_at(eval->why, ERR_NOT_FOUND, e->position,
                          "unrecognized configuration parameter \"%.*s\"",
                          TEXT(0).size > 80 ? 80 : (int)TEXT(0).size, TEXT(0).at);
        const char *value = found < 0 ? NULL
                                      : pg_setting_get(c->session ? &c->session->settings : &none,
                                                       (enum pg_setting)found);
        enum err err = set_text(eval, out, row, value);
        if (err) return err;
    }
    return ERR_OK;
}

/* Nothing else uses the session's settings while its statement runs. */
KERNEL(change_setting)
{
    const struct pg_catalog *c = catalog_of(eval);
    EACH_ROW(row)
    {
        const char *note = NULL;
        int found = pg_setting_find(TEXT(0));
        enum err err = ERR_OK;
        bool is_local = args[2].b[vector_at(&args[2], row)];
        if (found >= 0 && c->session)
            err = (is_local ? pg_setting_set_local : pg_setting_set)(
                c->session, (enum pg_setting)found, TEXT(1), &note, eval->why);
        if (err) return err;
        out->s[row] = TEXT(1);
    }
    return ERR_OK;
}

/* ---- texts ---- */

static enum err quote(struct eval *eval, struct vector *out, uint32_t row, struct str text,
                      char mark)
{
    char *to = arena_alloc(&eval->scratch, text.size * 2 + 2);
    size_t n = 0;
    if (!to) return expr_no_memory(eval->budget, eval->why);
    to[n++] = mark;
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] == mark) to[n++] = mark;
        to[n++] = text.at[i];
    }
    to[n++] = mark;
    out->s[row] = (struct str){to, n};
    return ERR_OK;
}

/* Quotes a name unless it is one as it stands; words of the language are not known here, so they
 * stay as they are only when no client would stumble over them. */
KERNEL(quote_name)
{
    EACH_ROW(row)
    {
        struct str s = TEXT(0);
        bool plain = s.size && !(s.at[0] >= '0' && s.at[0] <= '9');
        for (size_t i = 0; i < s.size && plain; i++)
            plain = (s.at[i] >= 'a' && s.at[i] <= 'z') || s.at[i] == '_' ||
                    (s.at[i] >= '0' && s.at[i] <= '9');
        out->s[row] = s;
        enum err err = plain ? ERR_OK : quote(eval, out, row, s, '"');
        if (err) return err;
    }
    return ERR_OK;
}

KERNEL(quote_text)
{
    EACH_ROW(row)
    {
        enum err err = quote(eval, out, row, TEXT(0), '\'');
        if (err) return err;
    }
    return ERR_OK;
}

KERNEL(quote_text_or_null)
{
    EACH_ROW(row)
    {
        bool is_null = vector_is_null(&args[0], row);
        out->s[row] = STR("NULL");
        enum err err = is_null ? ERR_OK : quote(eval, out, row, TEXT(0), '\'');
        if (err) return err;
    }
    return ERR_OK;
}

/* The parts of a name with dots, as the array '{public,press}'; false: it is none. */
static bool add_name_parts(struct arena *arena, struct str name, struct buf *array)
{
    struct lexer lexer = {name, 0};
    struct token token;
    struct value part = {.type = TYPE_TEXT};
    struct why ignored = WHY_NONE;
    do {
        bool is_part = !lex_next(&lexer, &token, &ignored) &&
                       (token.kind == TOKEN_NAME || token.kind == TOKEN_QUOTED);
        if (!is_part || !lex_text(&token, arena, &part.s) || !part.s.size) return false;
        array_add_item(array, &part);
    } while (!lex_next(&lexer, &token, &ignored) && token_is(&token, "."));
    return token.kind == TOKEN_END && lexer.at == name.size;
}

KERNEL(name_parts)
{
    EACH_ROW(row)
    {
        struct buf text = BUF_EMPTY;
        bool good = add_name_parts(&eval->scratch, TEXT(0), &text);
        buf_add_char(&text, '}');
        enum err err =
            good ? set_text(eval, out, row, buf_cstr(&text))
                 : why_at(eval->why, ERR_INVALID, e->position,
                          "parse_ident: '%.*s' is no name such as press, public.press or \"Press\"",
                          TEXT(0).size > 80 ? 80 : (int)TEXT(0).size, TEXT(0).at);
        buf_free(&text);
        if (err) return err;
    }
    return ERR_OK;
}

/* The bytes before the separator; the whole when there is none, or it is empty. */
static size_t piece_bytes(struct str text, struct str separator)
{
    const char *end =
        separator.size ? memmem(text.at, text.size, separator.at, separator.size) : NULL;
    return end ? (size_t)(end - text.at) : text.size;
}

/* 'a, b' into '{a," b"}'. */
KERNEL(split_array)
{
    EACH_ROW(row)
    {
        struct str rest = TEXT(0), separator = TEXT(1);
        struct buf text = BUF_EMPTY;
        for (bool is_more = rest.size > 0; is_more;) {
            struct value item = {.type = TYPE_TEXT, .s = {rest.at, piece_bytes(rest, separator)}};
            array_add_item(&text, &item);
            is_more = item.s.size < rest.size;
            size_t used = item.s.size + (is_more ? separator.size : 0);
            rest = (struct str){rest.at + used, rest.size - used};
        }
        buf_add_text(&text, text.size ? "}" : "{}");
        enum err err = set_text(eval, out, row, buf_cstr(&text));
        buf_free(&text);
        if (err) return err;
    }
    return ERR_OK;
}

/* Items of '{a,"b,c"}'. */
static int64_t count_items(struct str text)
{
    int64_t count = text.size > 2;
    bool quoted = false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] == '\\')
            i++;
        else if (text.at[i] == '"')
            quoted = !quoted;
        else
            count += !quoted && text.at[i] == ',';
    }
    return count;
}

KERNEL(array_size)
{
    EACH_ROW(row)
    {
        if (is_null_row(args, out, row)) continue;
        out->i[row] = count_items(TEXT(0));
        if (!out->i[row] || INTEGER(1) != 1) set_null(out, row);
    }
    return ERR_OK;
}

KERNEL(array_first)
{
    EACH_ROW(row)
    {
        if (is_null_row(args, out, row)) continue;
        out->i[row] = 1;
        if (!count_items(TEXT(0)) || INTEGER(1) != 1) set_null(out, row);
    }
    return ERR_OK;
}

KERNEL(pretty_size)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    EACH_ROW(row)
    {
        int64_t size = INTEGER(0);
        size_t unit = 0;
        while (size >= 10240 && unit < 4) {
            size = (size + 512) / 1024;
            unit++;
        }
        char *text = arena_printf(&eval->scratch, "%lld %s", (long long)size, units[unit]);
        if (!text) return expr_no_memory(eval->budget, eval->why);
        out->s[row] = str_of(text);
    }
    return ERR_OK;
}

/* ---- the list ---- */

#define F(name, args, result, flags, kernel)                                                       \
    {                                                                                              \
        name, args, result, flags, kernel, NULL, "as in PostgreSQL", "同 PostgreSQL", ""           \
    }

static const struct function functions[] = {
    F("version", "", 't', 0, version),
    F("current_user", "", 't', 0, user_name),
    F("session_user", "", 't', 0, user_name),
    F("current_database", "", 't', 0, database_name),
    F("current_schema", "", 't', 0, schema_name),
    F("current_schemas", "b", 't', 0, schema_names),
    F("current_setting", "t", 't', FN_NULLS, setting),
    F("current_setting", "tb", 't', FN_NULLS, setting),
    F("set_config", "ttb", 't', 0, change_setting),
    F("pg_backend_pid", "", 'i', 0, backend_pid),
    F("pg_client_encoding", "", 't', 0, encoding_name),
    F("pg_encoding_to_char", "i", 't', 0, encoding_name),
    F("pg_is_in_recovery", "", 'b', 0, no),
    F("pg_my_temp_schema", "", 'i', 0, zero),
    F("pg_is_other_temp_schema", "i", 'b', 0, no),
    F("txid_current", "", 'i', 0, zero),
    F("inet_server_addr", "", 't', FN_NULLS, no_text),
    F("inet_client_addr", "", 't', FN_NULLS, no_text),
    F("format_type", "ii", 't', FN_NULLS, format_type),
    F("regtype", "i", 't', FN_NULLS, format_type),
    F("regtype", "t", 'i', FN_NULLS, type_number),
    F("to_regtype", "t", 'i', FN_NULLS, type_number),
    F("regclass", "t", 'i', 0, relation_number),
    F("regclass", "i", 't', 0, relation_text),
    F("to_regclass", "t", 'i', FN_NULLS, relation_number_or_null),
    F("regnamespace", "i", 't', FN_NULLS, namespace_text),
    F("regrole", "i", 't', FN_NULLS, owner_name),
    F("regproc", "i", 't', FN_NULLS, no_text),
    F("regproc", "t", 't', FN_NULLS, no_text),
    F("pg_get_userbyid", "i", 't', FN_NULLS, owner_name),
    F("pg_table_is_visible", "i", 'b', 0, is_visible),
    F("pg_type_is_visible", "i", 'b', 0, yes),
    F("pg_function_is_visible", "i", 'b', 0, yes),
    F("pg_operator_is_visible", "i", 'b', 0, yes),
    F("pg_opclass_is_visible", "i", 'b', 0, yes),
    F("pg_collation_is_visible", "i", 'b', 0, yes),
    F("pg_statistics_obj_is_visible", "i", 'b', 0, yes),
    F("obj_description", "it", 't', FN_NULLS, table_description),
    F("obj_description", ".t", 't', FN_NULLS, no_text),
    F("obj_description", "i", 't', FN_NULLS, table_description),
    F("col_description", "ii", 't', FN_NULLS, column_description),
    F("shobj_description", "it", 't', FN_NULLS, no_text),
    F("pg_get_expr", "ti", 't', FN_NULLS, no_text),
    F("pg_get_expr", "tib", 't', FN_NULLS, no_text),
    F("pg_get_indexdef", "i", 't', FN_NULLS, index_definition),
    F("pg_get_indexdef", "iib", 't', FN_NULLS, index_column),
    F("pg_get_constraintdef", "i", 't', 0, key_definition),
    F("pg_get_constraintdef", "ib", 't', 0, key_definition),
    F("getdatabaseencoding", "", 't', 0, encoding_name),
    F("pg_char_to_encoding", "t", 'i', 0, utf8_number),
    F("pg_get_function_result", "i", 't', FN_NULLS, function_result),
    F("pg_get_function_arguments", "i", 't', FN_NULLS, function_arguments),
    F("pg_get_function_identity_arguments", "i", 't', FN_NULLS, function_arguments),
    F("pg_get_viewdef", "i", 't', FN_NULLS, view_definition),
    F("pg_get_viewdef", "ib", 't', FN_NULLS, view_definition),
    F("pg_get_viewdef", "ii", 't', FN_NULLS, view_definition),
    F("pg_get_ruledef", "ib", 't', FN_NULLS, no_text),
    F("pg_get_triggerdef", "ib", 't', FN_NULLS, no_text),
    F("pg_get_partkeydef", "i", 't', FN_NULLS, no_text),
    F("pg_get_statisticsobjdef_columns", "i", 't', FN_NULLS, no_text),
    F("pg_get_serial_sequence", "tt", 't', FN_NULLS, no_text),
    F("pg_get_functiondef", "i", 't', FN_NULLS, no_text),
    F("pg_relation_is_publishable", "i", 'b', 0, no),
    F("pg_relation_size", "i", 'i', FN_NULLS, no_oid),
    F("pg_table_size", "i", 'i', FN_NULLS, no_oid),
    F("pg_total_relation_size", "i", 'i', FN_NULLS, no_oid),
    F("pg_stat_get_numscans", "i", 'i', FN_NULLS, no_oid),
    F("pg_database_size", ".", 'i', FN_NULLS, no_oid),
    F("pg_size_pretty", "i", 't', 0, pretty_size),
    F("pg_tablespace_location", "i", 't', 0, nothing),
    F("has_table_privilege", ".*", 'b', 0, yes),
    F("has_any_column_privilege", ".*", 'b', 0, yes),
    F("has_column_privilege", ".*", 'b', 0, yes),
    F("has_schema_privilege", ".*", 'b', 0, yes),
    F("has_database_privilege", ".*", 'b', 0, yes),
    F("has_function_privilege", ".*", 'b', 0, yes),
    F("pg_has_role", ".*", 'b', 0, yes),
    F("quote_ident", "t", 't', 0, quote_name),
    F("quote_literal", "t", 't', 0, quote_text),
    F("quote_nullable", "t", 't', FN_NULLS, quote_text_or_null),
    F("parse_ident", "t", 't', 0, name_parts),
    F("string_to_array", "tt", 't', 0, split_array),
    F("array_length", "ti", 'i', FN_NULLS, array_size),
    F("array_upper", "ti", 'i', FN_NULLS, array_size),
    F("array_lower", "ti", 'i', FN_NULLS, array_first),
};

const struct sql_functions pg_functions = {functions, sizeof functions / sizeof functions[0]};
