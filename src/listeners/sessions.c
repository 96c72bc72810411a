/* sessions.c - see sessions.h. */
#include "listeners/sessions.h"

void session_add(struct service *service, struct session *session, const char *kind,
                 void (*describe)(const struct session *session, struct session_row *row))
{
    MUST(loop_is_current(service->context->main) && !session->link && describe);
    *session = (struct session){.next = service->sessions,
                                .link = &service->sessions,
                                .kind = kind,
                                .since_ns = context_wall_ns(service->context),
                                .describe = describe};
    if (session->next) session->next->link = &session->next;
    service->sessions = session;
}

void session_remove(struct session *session)
{
    if (!session->link) return;
    MUST(*session->link == session);
    *session->link = session->next;
    if (session->next) session->next->link = session->link;
    session->link = NULL;
    session->next = NULL;
}
