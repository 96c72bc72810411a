/* coap_request_fuzz.c - property: whatever the options of a request, it is refused with a text, or
 * names a valid topic; and whatever block of whatever value is asked for, the answer's payload lies
 * inside the value and its options ascend. */
/* covers: src/coap/request.c */
#include "base/reader.h"
#include "coap/request.h"
#include "mqtt/topic.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

static void check_reply(const struct coap_library_reply *reply, struct str value)
{
    for (size_t i = 1; i < reply->option_count; i++)
        if (reply->options[i - 1].number > reply->options[i].number) abort();
    if (reply->code != COAP_CODE_CONTENT) return;
    if (reply->payload.at < value.at ||
        reply->payload.at + reply->payload.size > value.at + value.size ||
        reply->payload.size > 1024)
        abort();
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    struct coap_library_option options[COAP_LIBRARY_OPTIONS];
    struct coap_request request;
    struct coap_library_reply reply;
    struct why why = WHY_NONE;
    struct reader r = reader_of(bytes, size);
    size_t count = 0;
    uint8_t method = reader_u8(&r);
    while (count < COAP_LIBRARY_OPTIONS && reader_left(&r) >= 2) {
        options[count].number = reader_u8(&r);
        size_t length = reader_u8(&r);
        options[count++].value =
            reader_str(&r, length < reader_left(&r) ? length : reader_left(&r));
    }
    enum coap_code code = coap_request_read(method, options, count, &request, &why);
    if (code) {
        if (!why.text[0] || code / 32 != 4) abort();
        coap_reply_code(&reply, code, why.text, &request.up);
        return 0;
    }
    if (!topic_name_is_valid(str_of(request.topic)) || !mqtt_text_is_valid(str_of(request.topic)) ||
        !mqtt_text_is_valid(str_of(request.user)))
        abort();
    struct str value = {(const char *)bytes, size};
    struct coap_content content = {value, request.format, request.observe != 0, 0xffffff};
    coap_reply_content(&reply, &content, &request.down, request.accept);
    check_reply(&reply, value);
    coap_reply_code(&reply, COAP_CODE_CHANGED, "", &request.up);
    check_reply(&reply, value);
    return 0;
}
