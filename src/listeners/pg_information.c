/* pg_information.c - information_schema, as the SQL standard has it and PostgreSQL 15 fills it in.
 */
#include "listeners/pg_catalog.h"
#include "listeners/pg_type.h"
#include <stdio.h>
#include <string.h>

static const struct pg_catalog *of(const void *snapshot)
{
    return snapshot;
}
#define I(x) ((int64_t)(x))

static void put_database(const struct pg_catalog *c, struct row_out *out)
{
    put_text(out, c->ns);
}

/* Relations that are no index. */
static const struct pg_relation *relation_at(const struct pg_catalog *c, size_t n)
{
    return &c->relations[n < c->table_count ? n : n + c->table_count];
}

static size_t count_relations(const void *snapshot)
{
    return of(snapshot)->relation_count - of(snapshot)->table_count;
}

static void write_relation(const void *snapshot, size_t n, struct row_out *out)
{
    const struct pg_catalog *c = of(snapshot);
    const struct pg_relation *r = relation_at(c, n);
    char name[300];
    put_database(c, out);
    pg_put(out, "ttt-----tt-", pg_namespace_name(r->namespace_oid), pg_relation_name(r, name),
           r->kind == 'r' ? "BASE TABLE" : "VIEW", r->schema ? "YES" : "NO", "NO");
}

static const struct list_column relation_columns[] = {PG_NAME("table_catalog"),
                                                      PG_NAME("table_schema"),
                                                      PG_NAME("table_name"),
                                                      PG_TEXT("table_type"),
                                                      PG_NAME("self_referencing_column_name"),
                                                      PG_TEXT("reference_generation"),
                                                      PG_NAME("user_defined_type_catalog"),
                                                      PG_NAME("user_defined_type_schema"),
                                                      PG_NAME("user_defined_type_name"),
                                                      PG_TEXT("is_insertable_into"),
                                                      PG_TEXT("is_typed"),
                                                      PG_TEXT("commit_action"),
                                                      {0}};

/* ---- columns: those of the indexes stand behind the tables' and are left out ---- */

static size_t index_columns_of(const struct pg_catalog *c, size_t *before)
{
    *before = 0;
    while (*before < c->attribute_count && c->attributes[*before].relation->kind == 'r' &&
           c->attributes[*before].relation->schema)
        (*before)++;
    return c->table_count * 2;
}

static size_t count_columns(const void *snapshot)
{
    size_t before;
    return of(snapshot)->attribute_count - index_columns_of(of(snapshot), &before);
}

static void write_column(const void *snapshot, size_t n, struct row_out *out)
{
    const struct pg_catalog *c = of(snapshot);
    size_t before, skip = index_columns_of(c, &before);
    const struct pg_attribute *a = &c->attributes[n < before ? n : n + skip];
    const struct pg_type *type = pg_type_of_column(a->type, a->unit);
    char name[300];
    bool is_table = a->relation->schema, is_array = type->category == 'A';
    bool is_key = is_table && (strcmp(a->name, "time") == 0 || strcmp(a->name, "device") == 0);
    put_database(c, out);
    pg_put(out, "ttti-tt--", pg_namespace_name(a->relation->namespace_oid),
           pg_relation_name(a->relation, name), a->name, I(a->number), is_key ? "NO" : "YES",
           is_array ? "ARRAY" : type->sql_name);
    switch (a->type) {
    case TYPE_BIGINT: pg_put(out, "ii0", I(64), I(2)); break;
    case TYPE_DOUBLE: pg_put(out, "ii-", I(53), I(2)); break;
    default: pg_put(out, "---"); break;
    }
    pg_put(out, a->type == TYPE_TIMESTAMP ? "i" : "-", I(6));
    pg_put(out, "-------");
    put_database(c, out);
    pg_put(out, "tttttt", "pg_catalog", type->name, "NO", "NO", "NEVER", is_table ? "YES" : "NO");
}

static const struct list_column column_columns[] = {PG_NAME("table_catalog"),
                                                    PG_NAME("table_schema"),
                                                    PG_NAME("table_name"),
                                                    PG_NAME("column_name"),
                                                    PG_INT4("ordinal_position"),
                                                    PG_TEXT("column_default"),
                                                    PG_TEXT("is_nullable"),
                                                    PG_TEXT("data_type"),
                                                    PG_INT4("character_maximum_length"),
                                                    PG_INT4("character_octet_length"),
                                                    PG_INT4("numeric_precision"),
                                                    PG_INT4("numeric_precision_radix"),
                                                    PG_INT4("numeric_scale"),
                                                    PG_INT4("datetime_precision"),
                                                    PG_TEXT("interval_type"),
                                                    PG_NAME("character_set_name"),
                                                    PG_NAME("collation_catalog"),
                                                    PG_NAME("collation_schema"),
                                                    PG_NAME("collation_name"),
                                                    PG_NAME("domain_name"),
                                                    PG_INT4("maximum_cardinality"),
                                                    PG_NAME("udt_catalog"),
                                                    PG_NAME("udt_schema"),
                                                    PG_NAME("udt_name"),
                                                    PG_TEXT("is_self_referencing"),
                                                    PG_TEXT("is_identity"),
                                                    PG_TEXT("is_generated"),
                                                    PG_TEXT("is_updatable"),
                                                    {0}};

/* ---- schemata, keys ---- */

static const uint32_t schemas[] = {PG_OID_PUBLIC, PG_OID_SYS, PG_OID_CATALOG, PG_OID_INFORMATION};

static size_t count_schemas(const void *snapshot)
{
    (void)snapshot;
    return sizeof schemas / sizeof schemas[0];
}

static void write_schema(const void *snapshot, size_t n, struct row_out *out)
{
    put_database(of(snapshot), out);
    pg_put(out, "tt----", pg_namespace_name(schemas[n]), "millrace");
}

static const struct list_column schema_columns[] = {PG_NAME("catalog_name"),
                                                    PG_NAME("schema_name"),
                                                    PG_NAME("schema_owner"),
                                                    PG_NAME("default_character_set_catalog"),
                                                    PG_NAME("default_character_set_schema"),
                                                    PG_NAME("default_character_set_name"),
                                                    PG_TEXT("sql_path"),
                                                    {0}};

static size_t count_tables(const void *snapshot)
{
    return of(snapshot)->table_count;
}

static void write_key(const void *snapshot, size_t n, struct row_out *out)
{
    const struct pg_catalog *c = of(snapshot);
    const char *table = c->relations[n].schema->name;
    char name[300];
    snprintf(name, sizeof name, "%s_pkey", table);
    put_database(c, out);
    pg_put(out, "tt", "public", name);
    put_database(c, out);
    pg_put(out, "tttttt", "public", table, "PRIMARY KEY", "NO", "NO", "YES");
}

static const struct list_column key_columns[] = {PG_NAME("constraint_catalog"),
                                                 PG_NAME("constraint_schema"),
                                                 PG_NAME("constraint_name"),
                                                 PG_NAME("table_catalog"),
                                                 PG_NAME("table_schema"),
                                                 PG_NAME("table_name"),
                                                 PG_TEXT("constraint_type"),
                                                 PG_TEXT("is_deferrable"),
                                                 PG_TEXT("initially_deferred"),
                                                 PG_TEXT("enforced"),
                                                 {0}};

static size_t count_key_columns(const void *snapshot)
{
    return of(snapshot)->table_count * 2;
}

static void write_key_column(const void *snapshot, size_t n, struct row_out *out)
{
    const struct pg_catalog *c = of(snapshot);
    const char *table = c->relations[n / 2].schema->name;
    char name[300];
    snprintf(name, sizeof name, "%s_pkey", table);
    put_database(c, out);
    pg_put(out, "tt", "public", name);
    put_database(c, out);
    pg_put(out, "ttti-", "public", table, n % 2 ? "time" : "device", I(n % 2 + 1));
}

static const struct list_column key_column_columns[] = {PG_NAME("constraint_catalog"),
                                                        PG_NAME("constraint_schema"),
                                                        PG_NAME("constraint_name"),
                                                        PG_NAME("table_catalog"),
                                                        PG_NAME("table_schema"),
                                                        PG_NAME("table_name"),
                                                        PG_NAME("column_name"),
                                                        PG_INT4("ordinal_position"),
                                                        PG_INT4("position_in_unique_constraint"),
                                                        {0}};

/* ---- what does not exist here ---- */

static const struct list_column view_columns[] = {PG_NAME("table_catalog"),
                                                  PG_NAME("table_schema"),
                                                  PG_NAME("table_name"),
                                                  PG_TEXT("view_definition"),
                                                  PG_TEXT("check_option"),
                                                  PG_TEXT("is_updatable"),
                                                  PG_TEXT("is_insertable_into"),
                                                  PG_TEXT("is_trigger_updatable"),
                                                  PG_TEXT("is_trigger_deletable"),
                                                  PG_TEXT("is_trigger_insertable_into"),
                                                  {0}},
                                referential_columns[] = {PG_NAME("constraint_catalog"),
                                                         PG_NAME("constraint_schema"),
                                                         PG_NAME("constraint_name"),
                                                         PG_NAME("unique_constraint_schema"),
                                                         PG_NAME("unique_constraint_name"),
                                                         PG_TEXT("update_rule"),
                                                         PG_TEXT("delete_rule"),
                                                         {0}},
                                usage_columns[] = {PG_NAME("table_catalog"),
                                                   PG_NAME("table_schema"),
                                                   PG_NAME("table_name"),
                                                   PG_NAME("column_name"),
                                                   PG_NAME("constraint_schema"),
                                                   PG_NAME("constraint_name"),
                                                   {0}},
                                routine_columns[] = {PG_NAME("specific_schema"),
                                                     PG_NAME("specific_name"),
                                                     PG_NAME("routine_schema"),
                                                     PG_NAME("routine_name"),
                                                     PG_TEXT("routine_type"),
                                                     PG_TEXT("data_type"),
                                                     {0}},
                                sequence_columns[] = {PG_NAME("sequence_catalog"),
                                                      PG_NAME("sequence_schema"),
                                                      PG_NAME("sequence_name"),
                                                      PG_TEXT("data_type"),
                                                      {0}},
                                trigger_columns[] = {PG_NAME("trigger_schema"),
                                                     PG_NAME("trigger_name"),
                                                     PG_NAME("event_object_table"),
                                                     {0}};

#define LIST(name, help, count, write, columns)                                                    \
    {                                                                                              \
        "information_schema", name, help, count, write, columns                                    \
    }
#define EMPTY(name, columns)                                                                       \
    {                                                                                              \
        "information_schema", name, "always empty", NULL, NULL, columns                            \
    }

const struct list_table pg_information_tables[] = {
    LIST("columns", "columns of tables", count_columns, write_column, column_columns),
    EMPTY("constraint_column_usage", usage_columns),
    LIST("key_column_usage", "columns of primary keys", count_key_columns, write_key_column,
         key_column_columns),
    EMPTY("referential_constraints", referential_columns),
    EMPTY("routines", routine_columns),
    LIST("schemata", "schemas", count_schemas, write_schema, schema_columns),
    EMPTY("sequences", sequence_columns),
    LIST("table_constraints", "primary keys", count_tables, write_key, key_columns),
    LIST("tables", "tables and views", count_relations, write_relation, relation_columns),
    EMPTY("triggers", trigger_columns),
    LIST("views", "views", pg_count_views, pg_write_standard_view, view_columns),
};
const size_t pg_information_table_count =
    sizeof pg_information_tables / sizeof pg_information_tables[0];
