/* mosquitto.h - the lines of Mosquitto's acl_file and password_file (mosquitto.conf(5)), for
 * `millrace import mosquitto`. Text in, lines out; nothing allocates. Thread: any. */
#ifndef ACCESS_MOSQUITTO_H
#define ACCESS_MOSQUITTO_H

#include "base/str.h"

enum mosquitto_kind {
    MOSQUITTO_USER,    /* what follows is this user's */
    MOSQUITTO_TOPIC,   /* of the user above; before the first one, of anonymous clients */
    MOSQUITTO_PATTERN, /* of everybody, with %u and %c */
    MOSQUITTO_WRONG,   /* none of these: `problem` says why */
};
enum { MOSQUITTO_READ = 1, MOSQUITTO_WRITE = 2 }; /* neither = deny */

struct mosquitto_line {
    size_t number; /* from 1 */
    enum mosquitto_kind kind;
    unsigned access;     /* TOPIC, PATTERN: MOSQUITTO_READ | MOSQUITTO_WRITE */
    struct str text;     /* the user, or the topic; borrowed from the file's text */
    const char *problem; /* static; NULL but for WRONG */
};

/* Takes lines off the front of `*rest`. The next line that says something; start with a zeroed
 * line. False at the end. */
bool mosquitto_acl_next(struct str *rest, struct mosquitto_line *line);

struct mosquitto_password {
    size_t number;         /* of the line, from 1 */
    struct str user, hash; /* hash: as legacy_parse takes it */
    const char *problem;   /* NULL, or why it cannot be taken */
};
/* The next line with a user; as mosquitto_acl_next. */
bool mosquitto_password_next(struct str *rest, struct mosquitto_password *line);

/* Why a rule of ours cannot say what a topic (or pattern) of Mosquitto's says; NULL: it can.
 * The text is static. */
const char *mosquitto_topic_problem(struct str topic, bool is_pattern);

#endif
