/* pg_catalog_more.c - the rest of pg_catalog: who, which database, settings, functions, and the
 * many relations of things that do not exist here and are always empty. Source of the columns:
 * PostgreSQL 15 documentation, "System Catalogs" and "System Views"; of the empty ones only those
 * that clients name. */
#include "listeners/pg_catalog.h"
#include "listeners/pg_priv.h"
#include "sql/agg.h"
#include "sql/func.h"
#include "sql/parse.h"
#include <stdio.h>
#include <string.h>

static const struct pg_catalog *of(const void *snapshot)
{
    return snapshot;
}
static size_t one(const void *snapshot)
{
    (void)snapshot;
    return 1;
}
static size_t two(const void *snapshot)
{
    (void)snapshot;
    return 2;
}
#define I(x) ((int64_t)(x))

/* ---- databases: the namespaces ---- */

static size_t count_databases(const void *snapshot)
{
    return of(snapshot)->database_count;
}

static void write_database(const void *snapshot, size_t n, struct row_out *out)
{
    struct str ns = of(snapshot)->databases[n];
    put_int(out, I(PG_OID_DATABASE + n));
    put_text(out, ns);
    pg_put(out, "iicfTi00itt---", I(PG_OID_OWNER), I(6), 'c', I(-1), I(1663), "C", "C");
}

static const struct list_column database_columns[] = {PG_OID("oid"),
                                                      PG_NAME("datname"),
                                                      PG_OID("datdba"),
                                                      PG_INT4("encoding"),
                                                      PG_CHAR("datlocprovider"),
                                                      PG_BOOL("datistemplate"),
                                                      PG_BOOL("datallowconn"),
                                                      PG_INT4("datconnlimit"),
                                                      PG_INT8("datfrozenxid"),
                                                      PG_INT8("datminmxid"),
                                                      PG_OID("dattablespace"),
                                                      PG_TEXT("datcollate"),
                                                      PG_TEXT("datctype"),
                                                      PG_TEXT("daticulocale"),
                                                      PG_TEXT("datcollversion"),
                                                      PG_TEXT("datacl"),
                                                      {0}};

/* ---- roles: the owner of everything, and who asks ---- */

static void write_role(const void *snapshot, size_t n, struct row_out *out)
{
    const struct pg_catalog *c = of(snapshot);
    bool is_admin = n == 1 && pg_is_admin(c);
    pg_put(out, "tbTbbbfi--f-i", n ? pg_user_name(c) : "millrace", is_admin, is_admin, is_admin,
           n == 1, I(-1), I(n ? PG_OID_USER : PG_OID_OWNER));
}

static const struct list_column role_columns[] = {PG_NAME("rolname"),
                                                  PG_BOOL("rolsuper"),
                                                  PG_BOOL("rolinherit"),
                                                  PG_BOOL("rolcreaterole"),
                                                  PG_BOOL("rolcreatedb"),
                                                  PG_BOOL("rolcanlogin"),
                                                  PG_BOOL("rolreplication"),
                                                  PG_INT4("rolconnlimit"),
                                                  PG_TEXT("rolpassword"),
                                                  PG_TIME("rolvaliduntil"),
                                                  PG_BOOL("rolbypassrls"),
                                                  PG_TEXT("rolconfig"),
                                                  PG_OID("oid"),
                                                  {0}};

static void write_user(const void *snapshot, size_t n, struct row_out *out)
{
    const struct pg_catalog *c = of(snapshot);
    (void)n;
    bool is_admin = pg_is_admin(c);
    pg_put(out, "tibbff---", pg_user_name(c), I(PG_OID_USER), is_admin, is_admin);
}

static const struct list_column user_columns[] = {PG_NAME("usename"),     PG_OID("usesysid"),
                                                  PG_BOOL("usecreatedb"), PG_BOOL("usesuper"),
                                                  PG_BOOL("userepl"),     PG_BOOL("usebypassrls"),
                                                  PG_TEXT("passwd"),      PG_TIME("valuntil"),
                                                  PG_TEXT("useconfig"),   {0}};

/* ---- settings ---- */

static size_t count_settings(const void *snapshot)
{
    return of(snapshot)->session ? PG_SETTING_COUNT : 0;
}

static void write_setting(const void *snapshot, size_t n, struct row_out *out)
{
    const char *name = pg_setting_name((enum pg_setting)n);
    const char *value = pg_setting_get(&of(snapshot)->session->settings, (enum pg_setting)n);
    pg_put(out, "tt-tt-ttt---tt--f", name, value, "Settings", "", "user", "string", "session",
           value, value);
}

static const struct list_column setting_columns[] = {
    PG_TEXT("name"),       PG_TEXT("setting"),         PG_TEXT("unit"),
    PG_TEXT("category"),   PG_TEXT("short_desc"),      PG_TEXT("extra_desc"),
    PG_TEXT("context"),    PG_TEXT("vartype"),         PG_TEXT("source"),
    PG_TEXT("min_val"),    PG_TEXT("max_val"),         PG_TEXT("enumvals"),
    PG_TEXT("boot_val"),   PG_TEXT("reset_val"),       PG_TEXT("sourcefile"),
    PG_INT4("sourceline"), PG_BOOL("pending_restart"), {0}};

/* ---- pg_get_keywords(): the words that cannot be bare names ---- */

static size_t count_keywords(const void *snapshot)
{
    size_t count = 0;
    (void)snapshot;
    while (sql_keyword(count)) count++;
    return count;
}

static void write_keyword(const void *snapshot, size_t n, struct row_out *out)
{
    (void)snapshot;
    pg_put(out, "tcTtt", sql_keyword(n), 'R', "reserved", "requires AS");
}

static const struct list_column keyword_columns[] = {PG_TEXT("word"),      PG_CHAR("catcode"),
                                                     PG_BOOL("barelabel"), PG_TEXT("catdesc"),
                                                     PG_TEXT("baredesc"),  {0}};

/* ---- functions: those of the engine that are written with brackets ---- */

static size_t count_functions(const void *snapshot)
{
    size_t functions, aggregates;
    (void)snapshot;
    (void)function_table(&functions);
    (void)aggregate_table(&aggregates);
    return functions + aggregates + 1; /* array_recv */
}

static int64_t type_of_letter(char letter)
{
    return letter == 'D' ? 1186 : pg_type_of(function_letter_type(letter))->oid;
}

/* By this one drivers of .NET tell arrays from other types. */
static void write_array_recv(struct row_out *out)
{
    pg_put(out, "itiiidd00cffTfcci0it-----t----", I(PG_OID_ARRAY_RECV), "array_recv", I(0),
           I(PG_OID_OWNER), I(12), 1.0, 0.0, 'f', 'i', 's', I(0), I(0), "", "array_recv");
}

static void write_function(const void *snapshot, size_t n, struct row_out *out)
{
    (void)snapshot;
    size_t functions, aggregates;
    const struct function *f = function_table(&functions);
    const struct aggregate *a = aggregate_table(&aggregates);
    bool is_aggregate = n >= functions;
    if (n == functions + aggregates) {
        write_array_recv(out);
        return;
    }
    const char *name = is_aggregate ? a[n - functions].name : f[n].name;
    const char *args = is_aggregate ? a[n - functions].args : f[n].args;
    char result = is_aggregate ? a[n - functions].result : f[n].result, types[200] = "";
    size_t used = 0;
    for (const char *l = args; *l && used < 180; l++)
        if (*l != '*')
            used += (size_t)snprintf(types + used, sizeof types - used, "%s%lld", used ? " " : "",
                                     (long long)type_of_letter(*l));
    bool is_operator = !is_aggregate && (f[n].flags & FN_OPERATOR);
    /* Operators are no functions to \df: they lie in no namespace. */
    pg_put(out, "itiiidd00cffTfcci0it-----t----", I(PG_OID_FUNCTIONS + n), name,
           I(is_operator ? 0 : PG_OID_CATALOG), I(PG_OID_OWNER), I(12), 1.0, 0.0,
           is_aggregate ? 'a' : 'f', 'i', 's', I(strlen(args)), type_of_letter(result), types,
           name);
}

static const struct list_column function_columns[] = {PG_OID("oid"),
                                                      PG_NAME("proname"),
                                                      PG_OID("pronamespace"),
                                                      PG_OID("proowner"),
                                                      PG_OID("prolang"),
                                                      PG_REAL("procost"),
                                                      PG_REAL("prorows"),
                                                      PG_OID("provariadic"),
                                                      PG_OID("prosupport"),
                                                      PG_CHAR("prokind"),
                                                      PG_BOOL("prosecdef"),
                                                      PG_BOOL("proleakproof"),
                                                      PG_BOOL("proisstrict"),
                                                      PG_BOOL("proretset"),
                                                      PG_CHAR("provolatile"),
                                                      PG_CHAR("proparallel"),
                                                      PG_INT2("pronargs"),
                                                      PG_INT2("pronargdefaults"),
                                                      PG_OID("prorettype"),
                                                      PG_TEXT("proargtypes"),
                                                      PG_TEXT("proallargtypes"),
                                                      PG_TEXT("proargmodes"),
                                                      PG_TEXT("proargnames"),
                                                      PG_TEXT("proargdefaults"),
                                                      PG_TEXT("protrftypes"),
                                                      PG_TEXT("prosrc"),
                                                      PG_TEXT("probin"),
                                                      PG_TEXT("prosqlbody"),
                                                      PG_TEXT("proconfig"),
                                                      PG_TEXT("proacl"),
                                                      {0}};

/* ---- small lists ---- */

static void write_method(const void *snapshot, size_t n, struct row_out *out)
{
    (void)snapshot;
    pg_put(out, "ittc", I(n ? PG_OID_BTREE : PG_OID_HEAP), n ? "btree" : "heap",
           n ? "bthandler" : "heap_tableam_handler", n ? 'i' : 't');
}
static const struct list_column method_columns[] = {
    PG_OID("oid"), PG_NAME("amname"), PG_TEXT("amhandler"), PG_CHAR("amtype"), {0}};

static void write_language(const void *snapshot, size_t n, struct row_out *out)
{
    (void)snapshot;
    (void)n;
    pg_put(out, "itiff000-", I(12), "internal", I(PG_OID_OWNER));
}
static const struct list_column language_columns[] = {
    PG_OID("oid"),           PG_NAME("lanname"),
    PG_OID("lanowner"),      PG_BOOL("lanispl"),
    PG_BOOL("lanpltrusted"), PG_OID("lanplcallfoid"),
    PG_OID("laninline"),     PG_OID("lanvalidator"),
    PG_TEXT("lanacl"),       {0}};

static void write_collation(const void *snapshot, size_t n, struct row_out *out)
{
    (void)snapshot;
    pg_put(out, "itiicTitt--", I(n ? 950 : 100), n ? "C" : "default", I(PG_OID_CATALOG),
           I(PG_OID_OWNER), n ? 'c' : 'd', I(-1), "C", "C");
}
static const struct list_column collation_columns[] = {
    PG_OID("oid"),           PG_NAME("collname"),
    PG_OID("collnamespace"), PG_OID("collowner"),
    PG_CHAR("collprovider"), PG_BOOL("collisdeterministic"),
    PG_INT4("collencoding"), PG_TEXT("collcollate"),
    PG_TEXT("collctype"),    PG_TEXT("colliculocale"),
    PG_TEXT("collversion"),  {0}};

static void write_tablespace(const void *snapshot, size_t n, struct row_out *out)
{
    (void)snapshot;
    (void)n;
    pg_put(out, "iti--", I(1663), "pg_default", I(PG_OID_OWNER));
}
static const struct list_column tablespace_columns[] = {PG_OID("oid"),         PG_NAME("spcname"),
                                                        PG_OID("spcowner"),    PG_TEXT("spcacl"),
                                                        PG_TEXT("spcoptions"), {0}};

/* Of connections a client sees its own. */
static size_t count_activity(const void *snapshot)
{
    return of(snapshot)->session != NULL;
}
static void write_activity(const void *snapshot, size_t n, struct row_out *out)
{
    const struct pg_catalog *c = of(snapshot);
    (void)n;
    put_int(out, I(PG_OID_DATABASE));
    put_text(out, c->ns);
    pg_put(out, "iitt-tt", I(c->pid), I(PG_OID_USER), pg_user_name(c),
           pg_setting_get(&c->session->settings, PG_SETTING_APPLICATION_NAME), "active",
           "client backend");
}
static const struct list_column activity_columns[] = {
    PG_OID("datid"),         PG_NAME("datname"),
    PG_INT4("pid"),          PG_OID("usesysid"),
    PG_NAME("usename"),      PG_TEXT("application_name"),
    PG_TEXT("client_addr"),  PG_TEXT("state"),
    PG_TEXT("backend_type"), {0}};

/* ---- what does not exist here ---- */

static const struct list_column
    attrdef_columns[] = {PG_OID("oid"), PG_OID("adrelid"), PG_INT2("adnum"), PG_TEXT("adbin"), {0}},
    member_columns[] = {PG_OID("roleid"),
                        PG_OID("member"),
                        PG_OID("grantor"),
                        PG_BOOL("admin_option"),
                        {0}},
    inherits_columns[] = {PG_OID("inhrelid"),
                          PG_OID("inhparent"),
                          PG_INT4("inhseqno"),
                          PG_BOOL("inhdetachpending"),
                          {0}},
    enum_columns[] = {PG_OID("oid"),
                      PG_OID("enumtypid"),
                      PG_REAL("enumsortorder"),
                      PG_NAME("enumlabel"),
                      {0}},
    range_columns[] = {PG_OID("rngtypid"),
                       PG_OID("rngsubtype"),
                       PG_OID("rngmultitypid"),
                       PG_OID("rngcollation"),
                       {0}},
    extension_columns[] = {PG_OID("oid"),
                           PG_NAME("extname"),
                           PG_OID("extowner"),
                           PG_OID("extnamespace"),
                           PG_BOOL("extrelocatable"),
                           PG_TEXT("extversion"),
                           {0}},
    operator_columns[] = {PG_OID("oid"),          PG_NAME("oprname"),
                          PG_OID("oprnamespace"), PG_OID("oprowner"),
                          PG_CHAR("oprkind"),     PG_OID("oprleft"),
                          PG_OID("oprright"),     PG_OID("oprresult"),
                          PG_TEXT("oprcode"),     {0}},
    opclass_columns[] = {PG_OID("oid"),         PG_OID("opcmethod"),
                         PG_NAME("opcname"),    PG_OID("opcnamespace"),
                         PG_OID("opcfamily"),   PG_OID("opcintype"),
                         PG_BOOL("opcdefault"), {0}},
    publication_columns[] = {PG_OID("oid"),
                             PG_NAME("pubname"),
                             PG_OID("pubowner"),
                             PG_BOOL("puballtables"),
                             {0}},
    publication_rel_columns[] = {PG_OID("oid"),     PG_OID("prpubid"),  PG_OID("prrelid"),
                                 PG_TEXT("prqual"), PG_TEXT("prattrs"), {0}},
    publication_namespace_columns[] = {PG_OID("oid"), PG_OID("pnpubid"), PG_OID("pnnspid"), {0}},
    subscription_columns[] = {PG_OID("oid"), PG_NAME("subname"), PG_OID("subdbid"), {0}},
    policy_columns[] = {PG_OID("oid"),      PG_NAME("polname"),       PG_OID("polrelid"),
                        PG_CHAR("polcmd"),  PG_BOOL("polpermissive"), PG_TEXT("polroles"),
                        PG_TEXT("polqual"), PG_TEXT("polwithcheck"),  {0}},
    statistic_columns[] = {PG_OID("oid"),       PG_OID("stxrelid"),
                           PG_NAME("stxname"),  PG_OID("stxnamespace"),
                           PG_OID("stxowner"),  PG_INT4("stxstattarget"),
                           PG_TEXT("stxkeys"),  PG_TEXT("stxkind"),
                           PG_TEXT("stxexprs"), {0}},
    trigger_columns[] = {PG_OID("oid"),
                         PG_OID("tgrelid"),
                         PG_OID("tgparentid"),
                         PG_NAME("tgname"),
                         PG_OID("tgfoid"),
                         PG_INT2("tgtype"),
                         PG_CHAR("tgenabled"),
                         PG_BOOL("tgisinternal"),
                         PG_OID("tgconstrrelid"),
                         PG_OID("tgconstrindid"),
                         PG_OID("tgconstraint"),
                         PG_BOOL("tgdeferrable"),
                         {0}},
    foreign_table_columns[] = {PG_OID("ftrelid"), PG_OID("ftserver"), PG_TEXT("ftoptions"), {0}},
    foreign_server_columns[] = {PG_OID("oid"),         PG_NAME("srvname"), PG_OID("srvowner"),
                                PG_OID("srvfdw"),      PG_TEXT("srvtype"), PG_TEXT("srvversion"),
                                PG_TEXT("srvoptions"), PG_TEXT("srvacl"),  {0}},
    wrapper_columns[] = {PG_OID("oid"),
                         PG_NAME("fdwname"),
                         PG_OID("fdwowner"),
                         PG_TEXT("fdwoptions"),
                         {0}},
    partitioned_columns[] = {PG_OID("partrelid"), PG_CHAR("partstrat"), PG_INT2("partnatts"),
                             PG_OID("partdefid"), PG_TEXT("partattrs"), {0}},
    rewrite_columns[] = {PG_OID("oid"),
                         PG_NAME("rulename"),
                         PG_OID("ev_class"),
                         PG_CHAR("ev_type"),
                         PG_CHAR("ev_enabled"),
                         PG_BOOL("is_instead"),
                         {0}},
    depend_columns[] = {PG_OID("classid"),   PG_OID("objid"),
                        PG_INT4("objsubid"), PG_OID("refclassid"),
                        PG_OID("refobjid"),  PG_INT4("refobjsubid"),
                        PG_CHAR("deptype"),  {0}},
    shdescription_columns[] = {PG_OID("objoid"), PG_OID("classoid"), PG_TEXT("description"), {0}},
    sequence_columns[] = {PG_OID("seqrelid"),      PG_OID("seqtypid"),  PG_INT8("seqstart"),
                          PG_INT8("seqincrement"), PG_INT8("seqmax"),   PG_INT8("seqmin"),
                          PG_INT8("seqcache"),     PG_BOOL("seqcycle"), {0}},
    cast_columns[] = {PG_OID("oid"),
                      PG_OID("castsource"),
                      PG_OID("casttarget"),
                      PG_OID("castfunc"),
                      PG_CHAR("castcontext"),
                      PG_CHAR("castmethod"),
                      {0}},
    view_columns[] = {PG_NAME("schemaname"),
                      PG_NAME("viewname"),
                      PG_NAME("viewowner"),
                      PG_TEXT("definition"),
                      {0}},
    matview_columns[] = {PG_NAME("schemaname"),   PG_NAME("matviewname"),
                         PG_NAME("matviewowner"), PG_NAME("tablespace"),
                         PG_BOOL("hasindexes"),   PG_BOOL("ispopulated"),
                         PG_TEXT("definition"),   {0}},
    event_trigger_columns[] = {PG_OID("oid"),
                               PG_NAME("evtname"),
                               PG_NAME("evtevent"),
                               PG_OID("evtowner"),
                               {0}},
    db_setting_columns[] = {PG_OID("setdatabase"), PG_OID("setrole"), PG_TEXT("setconfig"), {0}},
    prepared_columns[] = {PG_TEXT("name"), PG_TEXT("statement"), PG_TIME("prepare_time"), {0}},
    cursor_columns[] = {PG_TEXT("name"), PG_TEXT("statement"), PG_BOOL("is_holdable"), {0}},
    available_columns[] = {PG_NAME("name"),
                           PG_TEXT("default_version"),
                           PG_TEXT("installed_version"),
                           PG_TEXT("comment"),
                           {0}},
    lock_columns[] = {PG_TEXT("locktype"),
                      PG_OID("database"),
                      PG_OID("relation"),
                      PG_INT4("pid"),
                      PG_TEXT("mode"),
                      PG_BOOL("granted"),
                      {0}},
    default_acl_columns[] = {PG_OID("oid"),
                             PG_OID("defaclrole"),
                             PG_OID("defaclnamespace"),
                             PG_CHAR("defaclobjtype"),
                             PG_TEXT("defaclacl"),
                             {0}};

#define EMPTY(name, columns)                                                                       \
    {                                                                                              \
        "pg_catalog", name, "always empty", NULL, NULL, columns                                    \
    }
#define LIST(name, help, count, write, columns)                                                    \
    {                                                                                              \
        "pg_catalog", name, help, count, write, columns                                            \
    }

const struct list_table pg_more_tables[] = {
    LIST("pg_am", "access methods", two, write_method, method_columns),
    EMPTY("pg_attrdef", attrdef_columns),
    EMPTY("pg_auth_members", member_columns),
    LIST("pg_authid", "roles", two, write_role, role_columns),
    EMPTY("pg_available_extensions", available_columns),
    EMPTY("pg_cast", cast_columns),
    LIST("pg_collation", "collations", two, write_collation, collation_columns),
    EMPTY("pg_cursors", cursor_columns),
    LIST("pg_database", "namespaces", count_databases, write_database, database_columns),
    EMPTY("pg_db_role_setting", db_setting_columns),
    EMPTY("pg_default_acl", default_acl_columns),
    EMPTY("pg_depend", depend_columns),
    EMPTY("pg_enum", enum_columns),
    EMPTY("pg_event_trigger", event_trigger_columns),
    EMPTY("pg_extension", extension_columns),
    EMPTY("pg_foreign_data_wrapper", wrapper_columns),
    EMPTY("pg_foreign_server", foreign_server_columns),
    EMPTY("pg_foreign_table", foreign_table_columns),
    EMPTY("pg_inherits", inherits_columns),
    LIST("pg_language", "languages of functions", one, write_language, language_columns),
    EMPTY("pg_locks", lock_columns),
    EMPTY("pg_matviews", matview_columns),
    EMPTY("pg_opclass", opclass_columns),
    EMPTY("pg_operator", operator_columns),
    EMPTY("pg_partitioned_table", partitioned_columns),
    EMPTY("pg_policy", policy_columns),
    EMPTY("pg_prepared_statements", prepared_columns),
    LIST("pg_get_keywords", "words of the language", count_keywords, write_keyword,
         keyword_columns),
    LIST("pg_proc", "functions and aggregates", count_functions, write_function, function_columns),
    EMPTY("pg_publication", publication_columns),
    EMPTY("pg_publication_namespace", publication_namespace_columns),
    EMPTY("pg_publication_rel", publication_rel_columns),
    EMPTY("pg_range", range_columns),
    EMPTY("pg_rewrite", rewrite_columns),
    LIST("pg_roles", "roles", two, write_role, role_columns),
    EMPTY("pg_sequence", sequence_columns),
    LIST("pg_settings", "settings of the session", count_settings, write_setting, setting_columns),
    EMPTY("pg_shdescription", shdescription_columns),
    LIST("pg_stat_activity", "the client's own connection", count_activity, write_activity,
         activity_columns),
    EMPTY("pg_statistic_ext", statistic_columns),
    EMPTY("pg_subscription", subscription_columns),
    LIST("pg_tablespace", "places of files", one, write_tablespace, tablespace_columns),
    EMPTY("pg_trigger", trigger_columns),
    LIST("pg_user", "who asks", one, write_user, user_columns),
    LIST("pg_views", "views", pg_count_views, pg_write_view, view_columns),
};
const size_t pg_more_table_count = sizeof pg_more_tables / sizeof pg_more_tables[0];
