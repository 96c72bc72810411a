/* mosquitto.c - lines of Mosquitto's files, one at a time. See mosquitto.h.
 *
 * A line that cannot be taken over is given all the same, with the reason: who imports has to hear
 * of each, since one that was passed over could be the one that denies. The files are the
 * operator's; nothing in them is trusted. Called by cli/ only; owns nothing, slices are of the
 * text. */
#include "access/mosquitto.h"
#include "access/access.h"
#include "access/legacy.h"
#include <string.h>

/* Without what may stand behind it: blanks and the end of a line from another system. */
static struct str trim_end(struct str text)
{
    while (text.size && strchr(" \t\r\n", text.at[text.size - 1])) text.size--;
    return text;
}

static struct str skip_spaces(struct str text)
{
    while (text.size && text.at[0] == ' ') {
        text.at++;
        text.size--;
    }
    return text;
}

/* The word before the first space, and what follows. */
static struct str take_word(struct str *rest)
{
    const char *space = rest->size ? memchr(rest->at, ' ', rest->size) : NULL;
    struct str word = {rest->at, space ? (size_t)(space - rest->at) : rest->size};
    *rest = space ? skip_spaces((struct str){space, rest->size - word.size}) : STR("");
    return word;
}

/* A line that is not empty and no remark. */
static bool next_line(struct str *rest, size_t *number, struct str *line)
{
    while (rest->at && rest->size && str_split(rest, '\n', line)) {
        (*number)++;
        *line = trim_end(*line);
        if (line->size && line->at[0] != '#') return true;
    }
    return false;
}

static void take_topic(struct mosquitto_line *line, struct str rest)
{
    static const struct {
        const char *word;
        unsigned access;
    } words[] = {{"read", MOSQUITTO_READ},
                 {"write", MOSQUITTO_WRITE},
                 {"readwrite", MOSQUITTO_READ | MOSQUITTO_WRITE},
                 {"deny", 0}};
    struct str first = take_word(&rest);
    line->access = MOSQUITTO_READ | MOSQUITTO_WRITE;
    line->text = first;
    if (rest.size) {
        size_t i = 0;
        while (i < sizeof words / sizeof words[0] && !str_is(first, words[i].word)) i++;
        if (i == sizeof words / sizeof words[0]) {
            line->problem = "neither read, write, readwrite nor deny";
            return;
        }
        line->access = words[i].access;
        line->text = rest;
    }
    if (!line->text.size) line->problem = "a topic is missing";
}

bool mosquitto_acl_next(struct str *rest, struct mosquitto_line *line)
{
    struct str text;
    MUST(rest && line);
    if (!next_line(rest, &line->number, &text)) return false;
    text = skip_spaces(text);
    struct str word = take_word(&text);
    line->problem = NULL;
    line->access = 0;
    line->text = text;
    if (str_is(word, "user")) {
        line->kind = MOSQUITTO_USER;
        if (!text.size) line->problem = "a user is missing";
    } else if (str_is(word, "topic") || str_is(word, "pattern")) {
        line->kind = str_is(word, "topic") ? MOSQUITTO_TOPIC : MOSQUITTO_PATTERN;
        take_topic(line, text);
    } else {
        line->problem = "neither user, topic nor pattern";
    }
    if (line->problem) line->kind = MOSQUITTO_WRONG;
    return true;
}

bool mosquitto_password_next(struct str *rest, struct mosquitto_password *line)
{
    struct str text;
    struct legacy_verifier ignored;
    MUST(rest && line);
    if (!next_line(rest, &line->number, &text)) return false;
    const char *colon = memchr(text.at, ':', text.size);
    line->problem = NULL;
    line->user = (struct str){text.at, colon ? (size_t)(colon - text.at) : text.size};
    line->hash = colon ? (struct str){colon + 1, text.size - line->user.size - 1} : STR("");
    if (!line->user.size)
        line->problem = "a user is missing";
    else if (!line->hash.size)
        line->problem = "there is no password";
    else if (line->hash.at[0] != '$')
        line->problem = "the password is not hashed; run mosquitto_passwd -U on the file first";
    else if (!legacy_parse(line->hash, &ignored) || line->hash.size >= ACCESS_VERIFIER_BYTES)
        line->problem = "the hash is none of the forms $6$ and $7$";
    return true;
}

/* ---- topics ---- */

const char *mosquitto_topic_problem(struct str topic, bool is_pattern)
{
    for (size_t i = 0; i + 1 < topic.size; i++) {
        char next = topic.at[i + 1];
        if (topic.at[i] != '%' || !strchr(ACCESS_NAME_LETTERS, next) || !next) continue;
        if (!is_pattern || (next != 'u' && next != 'c'))
            return "rules here would put a name in for the % and the letter behind it";
    }
    if (access_filter_is_valid(topic)) return NULL;
    return "no valid topic filter: + and # must stand alone, # at the end";
}
