/* pg_catalog_class.c - the part of pg_catalog that describes tables: classes, attributes, types,
 * keys, namespaces. Source of the columns: PostgreSQL 15 documentation, "System Catalogs". */
#include "listeners/pg_catalog.h"
#include "listeners/pg_type.h"
#include <stdio.h>
#include <string.h>

static const struct pg_catalog *of(const void *snapshot)
{
    return snapshot;
}
#define I(x) ((int64_t)(x))

/* ---- pg_namespace ---- */

static const uint32_t namespaces[] = {PG_OID_CATALOG, PG_OID_PUBLIC, PG_OID_SYS,
                                      PG_OID_INFORMATION};

static size_t count_namespaces(const void *snapshot)
{
    (void)snapshot;
    return sizeof namespaces / sizeof namespaces[0];
}

static void write_namespace(const void *snapshot, size_t n, struct row_out *out)
{
    (void)snapshot;
    pg_put(out, "iti-", I(namespaces[n]), pg_namespace_name(namespaces[n]), I(PG_OID_OWNER));
}

static const struct list_column namespace_columns[] = {
    PG_OID("oid"), PG_NAME("nspname"), PG_OID("nspowner"), PG_TEXT("nspacl"), {0}};

/* ---- pg_class ---- */

static size_t count_classes(const void *snapshot)
{
    return of(snapshot)->relation_count;
}

static int64_t count_attributes(const struct pg_catalog *c, const struct pg_relation *r)
{
    int64_t count = 0;
    for (size_t i = 0; i < c->attribute_count; i++) count += c->attributes[i].relation == r;
    return count;
}

static void write_class(const void *snapshot, size_t n, struct row_out *out)
{
    const struct pg_catalog *c = of(snapshot);
    const struct pg_relation *r = &c->relations[n];
    char name[300];
    bool is_table = r->schema && r->kind == 'r';
    pg_put(out,
           "iti00iii0"
           "0d00bfcc"
           "i0fffffTcf000---",
           I(r->oid), pg_relation_name(r, name), I(r->namespace_oid), I(PG_OID_OWNER),
           I(r->kind == 'i' ? PG_OID_BTREE : PG_OID_HEAP), I(r->oid), -1.0, is_table, 'p', r->kind,
           count_attributes(c, r), 'd');
}

static const struct list_column class_columns[] = {PG_OID("oid"),
                                                   PG_NAME("relname"),
                                                   PG_OID("relnamespace"),
                                                   PG_OID("reltype"),
                                                   PG_OID("reloftype"),
                                                   PG_OID("relowner"),
                                                   PG_OID("relam"),
                                                   PG_OID("relfilenode"),
                                                   PG_OID("reltablespace"),
                                                   PG_INT4("relpages"),
                                                   PG_REAL("reltuples"),
                                                   PG_INT4("relallvisible"),
                                                   PG_OID("reltoastrelid"),
                                                   PG_BOOL("relhasindex"),
                                                   PG_BOOL("relisshared"),
                                                   PG_CHAR("relpersistence"),
                                                   PG_CHAR("relkind"),
                                                   PG_INT2("relnatts"),
                                                   PG_INT2("relchecks"),
                                                   PG_BOOL("relhasrules"),
                                                   PG_BOOL("relhastriggers"),
                                                   PG_BOOL("relhassubclass"),
                                                   PG_BOOL("relrowsecurity"),
                                                   PG_BOOL("relforcerowsecurity"),
                                                   PG_BOOL("relispopulated"),
                                                   PG_CHAR("relreplident"),
                                                   PG_BOOL("relispartition"),
                                                   PG_OID("relrewrite"),
                                                   PG_INT8("relfrozenxid"),
                                                   PG_INT8("relminmxid"),
                                                   PG_TEXT("relacl"),
                                                   PG_TEXT("reloptions"),
                                                   PG_TEXT("relpartbound"),
                                                   {0}};

/* ---- pg_attribute ---- */

static size_t count_all_attributes(const void *snapshot)
{
    return of(snapshot)->attribute_count;
}

static void write_attribute(const void *snapshot, size_t n, struct row_out *out)
{
    const struct pg_attribute *a = &of(snapshot)->attributes[n];
    const struct pg_type *type = pg_type_of_column(a->type, a->unit);
    bool is_key =
        a->relation->schema && (strcmp(a->name, "time") == 0 || strcmp(a->name, "device") == 0);
    pg_put(out,
           "iti"
           "iii00"
           "ibccebff"
           "eefT00----",
           I(a->relation->oid), a->name, I(type->oid), I(-1), I(type->size), I(a->number), I(-1),
           type->size > 0 && type->size <= 8, type->size == 8 ? 'd' : 'i',
           type->size < 0 ? 'x' : 'p', is_key);
}

static const struct list_column attribute_columns[] = {
    PG_OID("attrelid"),        PG_NAME("attname"),       PG_OID("atttypid"),
    PG_INT4("attstattarget"),  PG_INT2("attlen"),        PG_INT2("attnum"),
    PG_INT4("attndims"),       PG_INT4("attcacheoff"),   PG_INT4("atttypmod"),
    PG_BOOL("attbyval"),       PG_CHAR("attalign"),      PG_CHAR("attstorage"),
    PG_CHAR("attcompression"), PG_BOOL("attnotnull"),    PG_BOOL("atthasdef"),
    PG_BOOL("atthasmissing"),  PG_CHAR("attidentity"),   PG_CHAR("attgenerated"),
    PG_BOOL("attisdropped"),   PG_BOOL("attislocal"),    PG_INT4("attinhcount"),
    PG_OID("attcollation"),    PG_TEXT("attacl"),        PG_TEXT("attoptions"),
    PG_TEXT("attfdwoptions"),  PG_TEXT("attmissingval"), {0}};

/* ---- pg_type: each type, then the arrays that are no entry of their own ---- */

static bool has_own_array(const struct pg_type *type)
{
    return type->array_oid && !pg_type_find(type->array_oid);
}

static size_t count_types(const void *snapshot)
{
    size_t count = pg_type_count;
    (void)snapshot;
    for (size_t i = 0; i < pg_type_count; i++) count += has_own_array(&pg_types[i]);
    return count;
}

static uint32_t element_of(uint32_t array_oid)
{
    for (size_t i = 0; i < pg_type_count; i++)
        if (pg_types[i].array_oid == array_oid) return pg_types[i].oid;
    return 0;
}

static void write_type(const void *snapshot, size_t n, struct row_out *out)
{
    (void)snapshot;
    const struct pg_type *type = n < pg_type_count ? &pg_types[n] : NULL;
    char name[80], in[96], out_name[96], send[96];
    if (type) {
        snprintf(name, sizeof name, "%s", type->name);
    } else {
        size_t left = n - pg_type_count, i = 0;
        for (; i < pg_type_count; i++)
            if (has_own_array(&pg_types[i]) && left-- == 0) break;
        snprintf(name, sizeof name, "_%s", pg_types[i].name);
        n = i;
    }
    bool is_array = !type || (type->category == 'A' && name[0] == '_');
    uint32_t oid = type ? type->oid : pg_types[n].array_oid;
    int16_t size = type ? type->size : -1;
    snprintf(in, sizeof in, "%s", is_array ? "array_in" : "");
    if (!is_array) snprintf(in, sizeof in, "%sin", name);
    snprintf(out_name, sizeof out_name, is_array ? "array_out" : "%sout", name);
    char category = is_array || !type ? 'A' : type->category;
    snprintf(send, sizeof send, is_array ? "array_send" : "%ssend", name);
    pg_put(out,
           "itii"
           "ibccfTc"
           "0-ii"
           "ttit000"
           "ccf"
           "0i00---",
           I(oid), name, I(PG_OID_CATALOG), I(PG_OID_OWNER), I(size), size > 0 && size <= 8,
           category == 'P' ? 'p' : 'b', category, ',', I(is_array ? element_of(oid) : 0),
           I(type ? type->array_oid : 0), in, out_name, I(is_array ? PG_OID_ARRAY_RECV : 0), send,
           size == 8 ? 'd' : 'i', size < 0 ? 'x' : 'p', I(-1));
}

static const struct list_column type_columns[] = {
    PG_OID("oid"),           PG_NAME("typname"),     PG_OID("typnamespace"),
    PG_OID("typowner"),      PG_INT2("typlen"),      PG_BOOL("typbyval"),
    PG_CHAR("typtype"),      PG_CHAR("typcategory"), PG_BOOL("typispreferred"),
    PG_BOOL("typisdefined"), PG_CHAR("typdelim"),    PG_OID("typrelid"),
    PG_TEXT("typsubscript"), PG_OID("typelem"),      PG_OID("typarray"),
    PG_TEXT("typinput"),     PG_TEXT("typoutput"),   PG_OID("typreceive"),
    PG_TEXT("typsend"),      PG_INT8("typmodin"),    PG_INT8("typmodout"),
    PG_INT8("typanalyze"),   PG_CHAR("typalign"),    PG_CHAR("typstorage"),
    PG_BOOL("typnotnull"),   PG_OID("typbasetype"),  PG_INT4("typtypmod"),
    PG_INT4("typndims"),     PG_OID("typcollation"), PG_TEXT("typdefaultbin"),
    PG_TEXT("typdefault"),   PG_TEXT("typacl"),      {0}};

/* ---- pg_index, pg_constraint: the key (device, time) of every table ---- */

static size_t count_tables(const void *snapshot)
{
    return of(snapshot)->table_count;
}

static void write_index(const void *snapshot, size_t n, struct row_out *out)
{
    uint32_t id = of(snapshot)->relations[n].schema->table_id;
    pg_put(out, "iiiiTfTfTfTfTTftttt--", I(PG_OID_INDEXES + id), I(PG_OID_TABLES + id), I(2), I(2),
           "2 1", "0 0", "0 0", "0 0");
}

static const struct list_column index_columns[] = {
    PG_OID("indexrelid"),      PG_OID("indrelid"),
    PG_INT2("indnatts"),       PG_INT2("indnkeyatts"),
    PG_BOOL("indisunique"),    PG_BOOL("indnullsnotdistinct"),
    PG_BOOL("indisprimary"),   PG_BOOL("indisexclusion"),
    PG_BOOL("indimmediate"),   PG_BOOL("indisclustered"),
    PG_BOOL("indisvalid"),     PG_BOOL("indcheckxmin"),
    PG_BOOL("indisready"),     PG_BOOL("indislive"),
    PG_BOOL("indisreplident"), PG_TEXT("indkey"),
    PG_TEXT("indcollation"),   PG_TEXT("indclass"),
    PG_TEXT("indoption"),      PG_TEXT("indexprs"),
    PG_TEXT("indpred"),        {0}};

static void write_constraint(const void *snapshot, size_t n, struct row_out *out)
{
    const struct schema *s = of(snapshot)->relations[n].schema;
    char name[300];
    snprintf(name, sizeof name, "%s_pkey", s->name);
    pg_put(out,
           "iticffTi0i00"
           "cccT0T"
           "t-------",
           I(PG_OID_KEYS + s->table_id), name, I(PG_OID_PUBLIC), 'p',
           I(PG_OID_TABLES + s->table_id), I(PG_OID_INDEXES + s->table_id), ' ', ' ', ' ', "{2,1}");
}

static const struct list_column constraint_columns[] = {
    PG_OID("oid"),           PG_NAME("conname"),       PG_OID("connamespace"),
    PG_CHAR("contype"),      PG_BOOL("condeferrable"), PG_BOOL("condeferred"),
    PG_BOOL("convalidated"), PG_OID("conrelid"),       PG_OID("contypid"),
    PG_OID("conindid"),      PG_OID("conparentid"),    PG_OID("confrelid"),
    PG_CHAR("confupdtype"),  PG_CHAR("confdeltype"),   PG_CHAR("confmatchtype"),
    PG_BOOL("conislocal"),   PG_INT4("coninhcount"),   PG_BOOL("connoinherit"),
    PG_TEXT("conkey"),       PG_TEXT("confkey"),       PG_TEXT("conpfeqop"),
    PG_TEXT("conppeqop"),    PG_TEXT("conffeqop"),     PG_TEXT("confdelsetcols"),
    PG_TEXT("conexclop"),    PG_TEXT("conbin"),        {0}};

/* ---- pg_description ---- */

/* Tables first, then columns; what has nothing to say is a row that clients join with nothing. */
static size_t count_descriptions(const void *snapshot)
{
    return of(snapshot)->table_count + of(snapshot)->attribute_count;
}

static void write_description(const void *snapshot, size_t n, struct row_out *out)
{
    const struct pg_catalog *c = of(snapshot);
    const char *text = "";
    if (n < c->table_count) {
        text = c->relations[n].schema->description;
    } else {
        const struct pg_attribute *a = &c->attributes[n - c->table_count];
        text = pg_comment(out->arena, a->description, a->unit);
    }
    bool is_table = n < c->table_count;
    const struct pg_attribute *a = is_table ? NULL : &c->attributes[n - c->table_count];
    uint32_t oid = is_table ? c->relations[n].oid : a->relation->oid;
    if (text[0])
        pg_put(out, "iiit", I(oid), I(1259), I(is_table ? 0 : a->number), text);
    else
        pg_put(out, "000-");
}

static const struct list_column description_columns[] = {
    PG_OID("objoid"), PG_OID("classoid"), PG_INT4("objsubid"), PG_TEXT("description"), {0}};

/* ---- pg_tables, pg_views, pg_indexes ---- */

static void write_table(const void *snapshot, size_t n, struct row_out *out)
{
    pg_put(out, "ttt-Tfff", "public", of(snapshot)->relations[n].schema->name, "millrace");
}

static const struct list_column table_columns[] = {
    PG_NAME("schemaname"),  PG_NAME("tablename"),   PG_NAME("tableowner"),
    PG_NAME("tablespace"),  PG_BOOL("hasindexes"),  PG_BOOL("hasrules"),
    PG_BOOL("hastriggers"), PG_BOOL("rowsecurity"), {0}};

static void write_index_view(const void *snapshot, size_t n, struct row_out *out)
{
    const struct schema *s = of(snapshot)->relations[n].schema;
    char name[300], definition[700];
    snprintf(name, sizeof name, "%s_pkey", s->name);
    snprintf(definition, sizeof definition,
             "CREATE UNIQUE INDEX %s ON public.%s USING btree (device, \"time\")", name, s->name);
    pg_put(out, "ttt-t", "public", s->name, name, definition);
}

static const struct list_column index_view_columns[] = {
    PG_NAME("schemaname"), PG_NAME("tablename"), PG_NAME("indexname"),
    PG_NAME("tablespace"), PG_TEXT("indexdef"),  {0}};

const struct list_table pg_class_tables[] = {
    {"pg_catalog", "pg_attribute", "columns of relations", count_all_attributes, write_attribute,
     attribute_columns},
    {"pg_catalog", "pg_class", "relations", count_classes, write_class, class_columns},
    {"pg_catalog", "pg_constraint", "primary keys", count_tables, write_constraint,
     constraint_columns},
    {"pg_catalog", "pg_description", "descriptions and units", count_descriptions,
     write_description, description_columns},
    {"pg_catalog", "pg_index", "primary keys as indexes", count_tables, write_index, index_columns},
    {"pg_catalog", "pg_indexes", "primary keys as indexes", count_tables, write_index_view,
     index_view_columns},
    {"pg_catalog", "pg_namespace", "schemas", count_namespaces, write_namespace, namespace_columns},
    {"pg_catalog", "pg_tables", "tables", count_tables, write_table, table_columns},
    {"pg_catalog", "pg_type", "types", count_types, write_type, type_columns},
};
const size_t pg_class_table_count = sizeof pg_class_tables / sizeof pg_class_tables[0];
