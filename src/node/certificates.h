/* certificates.h - what the node's TLS listeners show: certificates named in its configuration, or
 * one of its own.
 *
 * The own one is self-signed, made at the first start and kept in the data folder. Damage to it (a
 * key that is not the certificate's, a signature that does not hold) must not keep a plant's node
 * from starting: the damaged files are put aside and a new pair is made, whose fingerprint is told.
 * Who has pinned the old one then refuses the node, as he should. Files that the configuration
 * names are never touched: they are somebody's, and the start says what is wrong with them. */
#ifndef NODE_CERTIFICATES_H
#define NODE_CERTIFICATES_H

#include "loop/context.h"
#include "net/tls.h"
#include "node/config.h"

/* Reads them, or makes them; says the fingerprint. `arena` holds their texts. Blocking. Errors:
 * TLS, IO, NO_MEMORY, each with the file and the way out. */
enum err certificates_read(struct context *context, const char *folder,
                           const struct node_config *config, struct arena *arena,
                           struct tls_config **tls, struct why *why);

#endif
