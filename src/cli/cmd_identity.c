/* cmd_identity.c - `millrace user`, `millrace token` and `millrace kubeconfig`: the documents of
 * the kinds User and Token, without writing YAML. */
#include "access/scram.h"
#include "cli/api.h"
#include "base/timetext.h"
#include "os/os.h"
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { PASSWORD_BYTES = 256 };

/* ---- passwords ---- */

/* What ends a program from its terminal, or stops it for a while. */
static const int terminal_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
enum { TERMINAL_SIGNALS = sizeof terminal_signals / sizeof terminal_signals[0] };

static volatile sig_atomic_t came; /* the first of them; 0 = none */

static void note_signal(int signum)
{
    if (!came) came = signum;
}

/* One that is ignored (nohup) stays so. */
static void catch_signals(struct sigaction old[TERMINAL_SIGNALS])
{
    struct sigaction caught = {.sa_handler = note_signal};
    (void)sigemptyset(&caught.sa_mask);
    came = 0;
    for (size_t i = 0; i < TERMINAL_SIGNALS; i++) {
        (void)sigaction(terminal_signals[i], NULL, &old[i]);
        if (old[i].sa_handler != SIG_IGN) (void)sigaction(terminal_signals[i], &caught, NULL);
    }
}

static void release_signals(const struct sigaction old[TERMINAL_SIGNALS])
{
    for (size_t i = 0; i < TERMINAL_SIGNALS; i++)
        (void)sigaction(terminal_signals[i], &old[i], NULL);
}

/* A line without its end; a signal ends it. False: there is none, or one that is no password
 * (`*is_unfit`), of which nothing is left over. */
static bool read_line(char out[PASSWORD_BYTES], bool *is_unfit)
{
    size_t size = 0;
    char c = 0;
    ssize_t n = 0;
    *is_unfit = false;
    while (!came && (n = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n') {
        if (size == PASSWORD_BYTES - 1 || !c) *is_unfit = true;
        if (!*is_unfit) out[size++] = c;
    }
    while (size && out[size - 1] == '\r') size--;
    out[size] = 0;
    return !came && !*is_unfit && (n == 1 || size);
}

/* One line from the terminal without showing it, or from a pipe; never a part of one. Whatever
 * ends it, the terminal shows again what is typed: a signal is caught, and raised again behind
 * that; after a stop (Ctrl-Z) the prompt comes again. */
static bool read_hidden(const char *prompt, char out[PASSWORD_BYTES])
{
    struct termios before, hidden;
    struct sigaction old[TERMINAL_SIGNALS];
    bool is_terminal = tcgetattr(STDIN_FILENO, &before) == 0, ok, is_unfit;
    int signum;
    do {
        if (is_terminal) {
            catch_signals(old);
            hidden = before;
            hidden.c_lflag &= ~(tcflag_t)ECHO;
            fputs(prompt, stderr);
            (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
        }
        ok = read_line(out, &is_unfit);
        signum = came;
        if (is_terminal) {
            (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
            fputc('\n', stderr);
            release_signals(old);
        }
        if (signum) OPENSSL_cleanse(out, PASSWORD_BYTES);
        if (signum) (void)raise(signum);
        came = 0;
    } while (signum == SIGTSTP);
    if (is_unfit)
        fprintf(stderr, "a password has %d bytes at most, and no zero byte\n", PASSWORD_BYTES - 1);
    return ok;
}

static void make_password(char out[PASSWORD_BYTES])
{
    static const char alphabet[] = "abcdefghijkmnpqrstuvwxyz23456789"; /* 32; none looks alike */
    uint8_t bytes[16];
    size_t n = 0;
    int good = RAND_bytes(bytes, sizeof bytes);
    MUST(good == 1);
    for (size_t i = 0; i < sizeof bytes; i++) {
        if (i && i % 4 == 0) out[n++] = '-';
        out[n++] = alphabet[bytes[i] % 32];
    }
    out[n] = 0;
}

/* From the terminal twice, from a pipe with --password-stdin, else a made one, which is told. */
static int choose_password(const struct cli_args *args, char out[PASSWORD_BYTES], bool *is_made)
{
    bool from_pipe = cli_value(args, "--password-stdin") != NULL;
    char again[PASSWORD_BYTES];
    *is_made = !from_pipe && !isatty(STDIN_FILENO);
    if (*is_made) {
        make_password(out);
        return CLI_OK;
    }
    if (!read_hidden("password: ", out) || !out[0])
        return cli_fail(args, CLI_USAGE, "no password was given");
    if (from_pipe) return CLI_OK;
    bool same = read_hidden("again: ", again) && strcmp(out, again) == 0;
    OPENSSL_cleanse(again, sizeof again);
    return same ? CLI_OK : cli_fail(args, CLI_USAGE, "the two passwords differ");
}

/* ---- documents ---- */

static void add_roles(struct buf *body, const struct cli_args *args)
{
    buf_add_text(body, "\"roles\":[");
    for (size_t i = 0; i < args->repeated_count; i++) {
        if (i) buf_add_char(body, ',');
        buf_add_json(body, str_of(args->repeated[i]));
    }
    buf_add_char(body, ']');
}

static void begin_document(struct buf *body, enum resource_kind kind, const char *name)
{
    buf_printf(body,
               "{\"apiVersion\":\"" RESOURCE_API_VERSION
               "\",\"kind\":\"%s\",\"metadata\":{\"name\":",
               resource_kinds[kind].name);
    buf_add_json(body, str_of(name));
    buf_add_text(body, "},\"spec\":{");
}

static struct doc *send(struct api *api, const char *method, enum resource_kind kind,
                        const char *name, const char *type, struct buf *body)
{
    struct buf path = BUF_EMPTY;
    api_path(&path, kind, NULL, name);
    struct doc *doc = api_call(api, method, &path, API_JSON, type, buf_str(body));
    buf_free(&path);
    if (body->at) OPENSSL_cleanse(body->at, body->size);
    buf_free(body);
    return doc;
}

static void say(const struct api *api, const char *name, const char *what, const char *key,
                const char *secret)
{
    if (!cli_value(api->args, "--json")) {
        printf("%s %s\n", name, what);
        if (secret) printf("%s (shown once): %s\n", key, secret);
        return;
    }
    struct buf out = BUF_EMPTY;
    buf_add_text(&out, "{\"name\":");
    buf_add_json(&out, str_of(name));
    if (secret) {
        buf_printf(&out, ",\"%s\":", key);
        buf_add_json(&out, str_of(secret));
    }
    printf("%.*s}\n", (int)out.size, out.at);
    buf_free(&out);
}

/* ---- users ---- */

static int user_add(struct api *api, const char *name)
{
    char password[PASSWORD_BYTES];
    bool is_made;
    struct buf body = BUF_EMPTY;
    if (!api->args->repeated_count)
        return cli_fail(
            api->args, CLI_USAGE,
            "a user needs a role: --role viewer, operator, engineer, admin or your own");
    int code = choose_password(api->args, password, &is_made);
    if (code) return code;
    begin_document(&body, KIND_USER, name);
    add_roles(&body, api->args);
    buf_add_text(&body, ",\"password\":");
    buf_add_json(&body, str_of(password));
    buf_add_text(&body, "}}");
    const struct doc *made = send(api, "POST", KIND_USER, NULL, "application/json", &body);
    if (made) say(api, name, "added", "password", is_made ? password : NULL);
    OPENSSL_cleanse(password, sizeof password);
    return made ? CLI_OK : api_fail(api);
}

static int patch_user(struct api *api, const char *name, struct buf *body)
{
    return send(api, "PATCH", KIND_USER, name, "application/merge-patch+json", body)
               ? CLI_OK
               : api_fail(api);
}

static int user_passwd(struct api *api, const char *name)
{
    char password[PASSWORD_BYTES];
    bool is_made;
    struct buf body = BUF_EMPTY;
    int code = choose_password(api->args, password, &is_made);
    if (code) return code;
    buf_add_text(&body, "{\"spec\":{\"password\":");
    buf_add_json(&body, str_of(password));
    buf_add_text(&body, "}}");
    code = patch_user(api, name, &body);
    if (!code) say(api, name, "has a new password", "password", is_made ? password : NULL);
    OPENSSL_cleanse(password, sizeof password);
    return code;
}

static int set_disabled(struct api *api, const char *name, bool disabled)
{
    struct buf body = BUF_EMPTY;
    buf_printf(&body, "{\"spec\":{\"disabled\":%s}}", disabled ? "true" : "false");
    int code = patch_user(api, name, &body);
    if (!code) say(api, name, disabled ? "disabled" : "enabled", "", NULL);
    return code;
}

static int user_disable(struct api *api, const char *name)
{
    return set_disabled(api, name, true);
}

static int user_enable(struct api *api, const char *name)
{
    return set_disabled(api, name, false);
}

static int remove_document(struct api *api, enum resource_kind kind, const char *name,
                           const char *what)
{
    struct buf none = BUF_EMPTY;
    if (!send(api, "DELETE", kind, name, NULL, &none)) return api_fail(api);
    say(api, name, what, "", NULL);
    return CLI_OK;
}

static int user_delete(struct api *api, const char *name)
{
    return remove_document(api, KIND_USER, name, "deleted");
}

static int list(struct api *api, enum resource_kind kind)
{
    struct buf path = BUF_EMPTY;
    bool is_json = cli_value(api->args, "--json") != NULL;
    api_path(&path, kind, NULL, NULL);
    const struct doc *answer =
        api_call(api, "GET", &path, is_json ? API_JSON : API_TABLE, NULL, (struct str){0});
    buf_free(&path);
    if (!answer) return api_fail(api);
    if (!is_json) {
        api_print_table(answer, true, true);
        return CLI_OK;
    }
    struct buf out = BUF_EMPTY;
    const struct doc *items = doc_get(answer, "items");
    if (items) doc_write_json(&out, items);
    printf("%.*s\n", (int)out.size, out.at ? out.at : "");
    buf_free(&out);
    return CLI_OK;
}

static int user_list(struct api *api, const char *name)
{
    (void)name;
    return list(api, KIND_USER);
}

/* For manifests: needs no node. */
static int print_verifier(const struct cli_args *args)
{
    char password[PASSWORD_BYTES], text[SCRAM_TEXT_BYTES];
    uint8_t salt[SCRAM_SALT_BYTES];
    struct scram_verifier verifier;
    if (!read_hidden("password: ", password) || !password[0])
        return cli_fail(args, CLI_USAGE, "no password was given");
    int good = RAND_bytes(salt, sizeof salt);
    MUST(good == 1);
    scram_make(str_of(password), salt, SCRAM_ITERATIONS, &verifier);
    OPENSSL_cleanse(password, sizeof password);
    scram_print(&verifier, text);
    puts(text);
    return CLI_OK;
}

/* ---- tokens ---- */

/* --ttl D as the time when it ends; "" = never. */
static int read_expiry(const struct cli_args *args, char out[TIME_TEXT_BYTES])
{
    const char *ttl = cli_value(args, "--ttl");
    int64_t ns;
    out[0] = 0;
    if (!ttl) return CLI_OK;
    if (!duration_parse(str_of(ttl), &ns) || ns < TIME_NS_PER_S)
        return cli_fail(args, CLI_USAGE, "--ttl %s: must be a duration such as 12h, 90d", ttl);
    struct os *os = os_real_new();
    if (!os) return cli_fail(args, CLI_FAILED, "out of memory");
    int64_t now = os->ops->wall_ns(os);
    os_real_free(os);
    (void)time_format((now + ns) / TIME_NS_PER_S * TIME_NS_PER_S, out);
    return CLI_OK;
}

static int token_create(struct api *api, const char *name)
{
    const struct cli_args *args = api->args;
    const char *user = cli_value(args, "--user"), *text = cli_value(args, "--description");
    char expires[TIME_TEXT_BYTES], secret[128];
    struct buf body = BUF_EMPTY;
    if (!user) return cli_fail(args, CLI_USAGE, "a token stands for a user: --user NAME");
    int code = read_expiry(args, expires);
    if (code) return code;
    begin_document(&body, KIND_TOKEN, name);
    buf_add_text(&body, "\"user\":");
    buf_add_json(&body, str_of(user));
    if (args->repeated_count) {
        buf_add_char(&body, ',');
        add_roles(&body, args);
    }
    if (expires[0]) buf_printf(&body, ",\"expires\":\"%s\"", expires);
    if (text) {
        buf_add_text(&body, ",\"description\":");
        buf_add_json(&body, str_of(text));
    }
    buf_add_text(&body, "}}");
    const struct doc *made = send(api, "POST", KIND_TOKEN, NULL, "application/json", &body);
    if (!made) return api_fail(api);
    (void)str_copy(secret, sizeof secret, doc_text(doc_find(made, "status.token")));
    say(api, name, "created", "token", secret);
    return CLI_OK;
}

static int token_list(struct api *api, const char *name)
{
    (void)name;
    return list(api, KIND_TOKEN);
}

static int token_revoke(struct api *api, const char *name)
{
    return remove_document(api, KIND_TOKEN, name, "revoked");
}

/* ---- what the two commands can do ---- */

static const struct verb {
    const char *command, *name;
    bool has_name;
    int (*run)(struct api *api, const char *name);
} verbs[] = {
    {"user", "add", true, user_add},         {"user", "passwd", true, user_passwd},
    {"user", "list", false, user_list},      {"user", "disable", true, user_disable},
    {"user", "enable", true, user_enable},   {"user", "delete", true, user_delete},
    {"token", "create", true, token_create}, {"token", "list", false, token_list},
    {"token", "revoke", true, token_revoke},
};
enum { VERB_ROWS = sizeof verbs / sizeof verbs[0] };

static int unknown_verb(const struct cli_args *args)
{
    const char *names[VERB_ROWS + 1];
    size_t count = 0;
    struct buf all = BUF_EMPTY;
    for (size_t i = 0; i < VERB_ROWS; i++) {
        if (strcmp(verbs[i].command, args->command->name) != 0) continue;
        buf_printf(&all, "%s%s", count ? ", " : "", verbs[i].name);
        names[count++] = verbs[i].name;
    }
    int nearest = str_nearest(str_of(args->words[0]), names, count);
    const char *text = buf_cstr(&all);
    int code = cli_fail(args, CLI_USAGE, "'%s' is not one of %s%s%s%s", args->words[0],
                        text ? text : "", nearest >= 0 ? "; did you mean " : "",
                        nearest >= 0 ? names[nearest] : "", nearest >= 0 ? "?" : "");
    buf_free(&all);
    return code;
}

int cli_identity(const struct cli_args *args)
{
    const struct verb *verb = NULL;
    struct api api;
    for (size_t i = 0; i < VERB_ROWS; i++)
        if (strcmp(verbs[i].command, args->command->name) == 0 &&
            strcmp(verbs[i].name, args->words[0]) == 0)
            verb = &verbs[i];
    if (strcmp(args->command->name, "user") == 0 && strcmp(args->words[0], "verifier") == 0)
        return print_verifier(args);
    if (!verb) return unknown_verb(args);
    if (verb->has_name != (args->word_count == 2))
        return cli_fail(args, CLI_USAGE, "usage: millrace %s %s%s", verb->command, verb->name,
                        verb->has_name ? " NAME" : "");
    if (!api_open(&api, args)) return CLI_FAILED;
    int code = verb->run(&api, verb->has_name ? args->words[1] : NULL);
    api_close(&api);
    return code;
}

/* ---- kubeconfig ---- */

static bool add_base64(struct buf *out, struct str bytes)
{
    size_t room = (bytes.size + 2) / 3 * 4 + 1;
    if (!buf_reserve(out, room)) return false;
    int n = EVP_EncodeBlock((unsigned char *)out->at + out->size, (const unsigned char *)bytes.at,
                            (int)bytes.size);
    if (n < 0) return false;
    out->size += (size_t)n;
    return true;
}

/* The certificate that kubectl shall trust: --ca, MILLRACE_CA, or the data folder's own. */
static bool read_ca(const struct cli_args *args, struct buf *out)
{
    char path[4096], folder[3900];
    const char *given = cli_value(args, "--ca");
    if (!given) given = getenv("MILLRACE_CA");
    cli_data_folder(args, folder, sizeof folder);
    if (given)
        snprintf(path, sizeof path, "%s", given);
    else
        snprintf(path, sizeof path, "%s/tls-cert.pem", folder);
    if (cli_read_file(path, out) && out->size) return true;
    (void)cli_fail(args, CLI_FAILED, "%s cannot be read: name the node's CA with --ca FILE", path);
    return false;
}

static int print_kubeconfig(struct api *api)
{
    struct buf ca = BUF_EMPTY, out = BUF_EMPTY, path = BUF_EMPTY;
    api_path(&path, KIND_NODE, NULL, NULL);
    const struct doc *nodes = api_call(api, "GET", &path, API_JSON, NULL, (struct str){0});
    buf_free(&path);
    if (!nodes) return api_fail(api);
    const struct doc *items = doc_get(nodes, "items");
    const struct doc *node = items && items->count ? items->items[0].value : NULL;
    struct str address = doc_text(doc_find(node, "status.address"));
    struct str name = doc_text(doc_find(node, "metadata.name"));
    if (!str_starts(address, "https://"))
        return cli_fail(api->args, CLI_FAILED,
                        "kubectl needs https, and the node does not listen there (listen.https)");
    if (!read_ca(api->args, &ca)) {
        buf_free(&ca);
        return CLI_FAILED;
    }
    buf_printf(&out,
               "apiVersion: v1\nkind: Config\ncurrent-context: millrace\n"
               "clusters:\n- name: millrace\n  cluster:\n    server: %.*s\n"
               "    certificate-authority-data: ",
               (int)address.size, address.at);
    bool ok = add_base64(&out, buf_str(&ca));
    buf_printf(&out,
               "\ncontexts:\n- name: millrace\n  context: {cluster: millrace, user: millrace, "
               "namespace: %s}\nusers:\n- name: millrace\n  user:\n    token: %s\n# node %.*s\n",
               api_namespace(api->args), client_token(api->client), (int)name.size, name.at);
    if (ok && !buf_failed(&out)) printf("%.*s", (int)out.size, out.at);
    buf_free(&ca);
    buf_free(&out);
    return ok ? CLI_OK : cli_fail(api->args, CLI_FAILED, "out of memory");
}

int cli_kubeconfig(const struct cli_args *args)
{
    struct api api;
    if (!api_open(&api, args)) return CLI_FAILED;
    int code = print_kubeconfig(&api);
    api_close(&api);
    return code;
}
