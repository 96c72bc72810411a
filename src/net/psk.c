/* psk.c - a file of keys, read. See psk.h. The keys stand in a table of hashes, which belongs to
 * all that share it: the configuration that is in force, and each stream that began under it. A
 * file that is read anew makes another table; who has proved a key that is gone is found by
 * comparing the two. Invariants: immutable once it is read; keys are wiped before their memory
 * goes. */
#include "net/psk.h"
#include "base/map.h"
#include "base/mem.h"
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <string.h>

struct psk_key {
    size_t size;
    uint8_t bytes[PSK_KEY_BYTES_MAX];
};

struct tls_psk {
    _Atomic uint32_t refs;
    struct map keys; /* identity → struct psk_key */
};

static int digit_of(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static const char *read_key(struct str hex, struct psk_key *key)
{
    if (hex.size % 2 || hex.size < 2 * PSK_KEY_BYTES_MIN || hex.size > 2 * PSK_KEY_BYTES_MAX)
        return "the key must have 16 to 64 bytes, in hex";
    for (size_t i = 0; i < hex.size; i += 2) {
        int high = digit_of(hex.at[i]), low = digit_of(hex.at[i + 1]);
        if (high < 0 || low < 0) return "the key is not in hex";
        key->bytes[i / 2] = (uint8_t)(high << 4 | low);
    }
    key->size = hex.size / 2;
    return NULL;
}

static const char *read_line(struct tls_psk *psk, struct str line)
{
    struct str identity, hex = line;
    (void)str_split(&hex, ':', &identity);
    if (!hex.at) return "there is no colon";
    if (!identity.size || identity.size >= PSK_IDENTITY_BYTES ||
        memchr(identity.at, 0, identity.size) || !str_is_utf8(identity))
        return "the identity must have 1 to 127 bytes of UTF-8";
    if (map_get(&psk->keys, identity)) return "the identity stands there twice";
    struct psk_key *key = mem_alloc_zero(1, sizeof *key);
    if (!key) return "no memory";
    const char *problem = read_key(hex, key);
    if (!problem && map_put(&psk->keys, identity, key, NULL)) problem = "no memory";
    if (problem) {
        OPENSSL_cleanse(key, sizeof *key);
        mem_free(key);
    }
    return problem;
}

enum err tls_psk_read(struct str text, struct tls_psk **out, struct why *why)
{
    struct str line;
    size_t number = 0;
    if (text.size > PSK_FILE_BYTES_MAX) return why_set(why, ERR_LIMIT, "the file is too large");
    struct tls_psk *psk = mem_alloc_zero(1, sizeof *psk);
    if (!psk) return why_set(why, ERR_NO_MEMORY, "no memory for keys");
    atomic_init(&psk->refs, 1);
    map_init(&psk->keys);
    enum err err = ERR_OK;
    while (!err && text.size && str_split(&text, '\n', &line)) {
        number++;
        line = str_trim(line);
        const char *problem = line.size && line.at[0] != '#' ? read_line(psk, line) : NULL;
        if (problem) err = why_set(why, ERR_INVALID, "line %zu: %s", number, problem);
    }
    if (!err && !psk->keys.count) err = why_set(why, ERR_INVALID, "there is no key in it");
    if (err)
        tls_psk_release(psk);
    else
        *out = psk;
    return err;
}

struct tls_psk *tls_psk_share(struct tls_psk *psk)
{
    uint32_t before = atomic_fetch_add(&psk->refs, 1);
    MUST(before > 0);
    return psk;
}

void tls_psk_release(struct tls_psk *psk)
{
    struct str identity;
    void *key;
    if (!psk) return;
    uint32_t before = atomic_fetch_sub(&psk->refs, 1);
    MUST(before > 0);
    if (before > 1) return;
    for (size_t at = 0; map_next(&psk->keys, &at, &identity, &key);) {
        OPENSSL_cleanse(key, sizeof(struct psk_key));
        mem_free(key);
    }
    map_free(&psk->keys);
    mem_free(psk);
}

size_t tls_psk_count(const struct tls_psk *psk)
{
    return psk->keys.count;
}

size_t tls_psk_find(const struct tls_psk *psk, struct str identity, uint8_t key[PSK_KEY_BYTES_MAX])
{
    MUST(psk && atomic_load(&psk->refs) > 0);
    const struct psk_key *found = map_get(&psk->keys, identity);
    if (!found) return 0;
    MUST(found->size >= PSK_KEY_BYTES_MIN && found->size <= PSK_KEY_BYTES_MAX);
    memcpy(key, found->bytes, found->size);
    return found->size;
}

bool tls_psk_still_has(const struct tls_psk *was, const struct tls_psk *now, struct str identity)
{
    const struct psk_key *old = was ? map_get(&was->keys, identity) : NULL;
    const struct psk_key *key = now ? map_get(&now->keys, identity) : NULL;
    return old && key && old->size == key->size &&
           CRYPTO_memcmp(old->bytes, key->bytes, key->size) == 0;
}

bool tls_psk_lacks_some(const struct tls_psk *was, const struct tls_psk *now)
{
    struct str identity;
    void *key;
    for (size_t at = 0; was && map_next(&was->keys, &at, &identity, &key);)
        if (!tls_psk_still_has(was, now, identity)) return true;
    return false;
}
