/* psk_fuzz.c - property: a text is refused with a reason, or each line of it can be found again. */
/* covers: src/net/psk.c */
#include "net/psk.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct str text = {size ? (const char *)bytes : "", size}, line, identity;
    struct tls_psk *psk = NULL;
    struct why why = WHY_NONE;
    uint8_t key[PSK_KEY_BYTES_MAX];
    if (tls_psk_read(text, &psk, &why)) {
        if (!why.text[0]) abort();
        return 0;
    }
    size_t found = 0;
    while (text.size && str_split(&text, '\n', &line)) {
        line = str_trim(line);
        if (!line.size || line.at[0] == '#') continue;
        (void)str_split(&line, ':', &identity);
        if (tls_psk_find(psk, identity, key) * 2 != line.size) abort();
        found++;
    }
    if (found != tls_psk_count(psk)) abort();
    tls_psk_release(psk);
    return 0;
}
