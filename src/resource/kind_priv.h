/* kind_priv.h - what the files of kinds' field tables share. */
#ifndef RESOURCE_KIND_PRIV_H
#define RESOURCE_KIND_PRIV_H

#include "resource/kind.h"

#define AT(type, member) offsetof(struct type, member)
#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }

/* kind_access.c */
extern const struct field node_fields[], user_fields[], role_fields[], token_fields[];

/* kind_stream.c */
extern const struct field stream_fields[];
void check_stream(const void *spec, const struct doc *doc, struct problems *problems);
/* kind_bridge.c */
extern const struct field bridge_fields[];
/* kind_sink.c */
extern const struct field sink_fields[];

#endif
