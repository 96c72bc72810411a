/* pg_copy.c - COPY. */
#include "listeners/pg_priv.h"

enum err pg_copy_run(struct pg_call *call, struct why *why)
{
    (void)call;
    return why_set(why, ERR_UNSUPPORTED, "COPY");
}
void pg_copy_message(struct pg_connection *c, const struct pg_message *message)
{
    (void)c;
    (void)message;
}
void pg_copy_cancel(struct pg_connection *c)
{
    (void)c;
}
void pg_copy_free(struct pg_connection *c)
{
    (void)c;
}
