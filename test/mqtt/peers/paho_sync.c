/* paho_sync.c - a program on Paho C's blocking client, as equipment makers write them, against the
 * broker: every QoS, retained messages, a session that is kept, a will, and what 5.0 adds. Prints
 * one line a claim; compiled and run by test_mqtt_peers.py.
 *
 * usage: paho_sync URI CAFILE|- USER PASSWORD 3|4|5 (Paho's numbers of MQTT 3.1, 3.1.1 and 5.0) */
#include <MQTTClient.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EACH = 5, WAIT_MS = 10000 };

static const char *uri, *ca, *user, *password;
static int version;

static void check(int rc, const char *what)
{
    if (rc == MQTTCLIENT_SUCCESS) return;
    printf("failed: %s: %d\n", what, rc);
    exit(1);
}

static MQTTClient make(const char *id)
{
    MQTTClient client;
    MQTTClient_createOptions options = MQTTClient_createOptions_initializer;
    options.MQTTVersion = version;
    check(
        MQTTClient_createWithOptions(&client, uri, id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &options),
        "create");
    return client;
}

/* The result or reason; *present says whether there was a session. */
static int enter(MQTTClient client, const char *word, int clean, MQTTClient_willOptions *will,
                 int *present)
{
    MQTTClient_connectOptions old = MQTTClient_connectOptions_initializer;
    MQTTClient_connectOptions new = MQTTClient_connectOptions_initializer5;
    MQTTClient_connectOptions options = version == MQTTVERSION_5 ? new : old;
    MQTTClient_SSLOptions tls = MQTTClient_SSLOptions_initializer;
    MQTTProperties properties = MQTTProperties_initializer;
    MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL,
                           .value.integer4 = 3600};
    tls.trustStore = ca;
    tls.verify = 1;
    options.username = user;
    options.password = word;
    options.will = will;
    options.MQTTVersion = version;
    if (strcmp(ca, "-") != 0) options.ssl = &tls;
    if (version == MQTTVERSION_5) {
        options.cleanstart = clean;
        if (!clean) MQTTProperties_add(&properties, &expiry);
        MQTTResponse answer = MQTTClient_connect5(client, &options, &properties, NULL);
        int rc = answer.reasonCode;
        if (present) *present = options.returned.sessionPresent;
        MQTTResponse_free(answer);
        MQTTProperties_free(&properties);
        return rc;
    }
    options.cleansession = clean;
    int rc = MQTTClient_connect(client, &options);
    if (present) *present = options.returned.sessionPresent;
    return rc;
}

static void leave(MQTTClient client)
{
    check(version == MQTTVERSION_5
              ? MQTTClient_disconnect5(client, 1000, MQTTREASONCODE_SUCCESS, NULL)
              : MQTTClient_disconnect(client, 1000),
          "disconnect");
}

/* The QoS that was granted. */
static int subscribe(MQTTClient client, const char *filter, int qos)
{
    if (version != MQTTVERSION_5) {
        check(MQTTClient_subscribe(client, filter, qos), filter);
        return qos;
    }
    MQTTResponse answer = MQTTClient_subscribe5(client, filter, qos, NULL, NULL);
    int granted = answer.reasonCode;
    MQTTResponse_free(answer);
    return granted;
}

static void publish(MQTTClient client, const char *topic, const char *text, int qos, int retained,
                    MQTTProperties *properties)
{
    MQTTClient_message message = MQTTClient_message_initializer;
    MQTTClient_deliveryToken token = 0;
    message.payload = (void *)text;
    message.payloadlen = (int)strlen(text);
    message.qos = qos;
    message.retained = retained;
    if (properties) message.properties = *properties;
    if (version == MQTTVERSION_5) {
        MQTTResponse answer = MQTTClient_publishMessage5(client, topic, &message, &token);
        check(answer.reasonCode, topic);
        MQTTResponse_free(answer);
    } else {
        check(MQTTClient_publishMessage(client, topic, &message, &token), topic);
    }
    if (qos) check(MQTTClient_waitForCompletion(client, token, WAIT_MS), "acknowledgement");
}

/* The next message as "payload qos retained", which stays valid until the next call. */
static const char *receive(MQTTClient client)
{
    static char out[256];
    char *topic = NULL;
    int size = 0;
    MQTTClient_message *message = NULL;
    int rc = MQTTClient_receive(client, &topic, &size, &message, WAIT_MS);
    if ((rc != MQTTCLIENT_SUCCESS && rc != MQTTCLIENT_TOPICNAME_TRUNCATED) || !message)
        return "nothing";
    snprintf(out, sizeof out, "%.*s %d %d", message->payloadlen, (char *)message->payload,
             message->qos, message->retained);
    MQTTClient_freeMessage(&message);
    MQTTClient_free(topic);
    return out;
}

static void every_qos(MQTTClient client)
{
    for (int qos = 0; qos < 3; qos++) {
        char filter[16], text[16], expected[32];
        int right = 0;
        snprintf(filter, sizeof filter, "sync/%d", qos);
        int granted = subscribe(client, filter, qos);
        for (int i = 0; i < EACH; i++) {
            snprintf(text, sizeof text, "%d", i);
            publish(client, filter, text, qos, 0, NULL);
        }
        for (int i = 0; i < EACH; i++) {
            snprintf(expected, sizeof expected, "%d %d 0", i, qos);
            right += strcmp(receive(client), expected) == 0;
        }
        printf("qos %d: granted %d, %d in order\n", qos, granted, right);
    }
}

static void retained(MQTTClient client)
{
    publish(client, "sync/kept", "old", 1, 1, NULL);
    publish(client, "sync/kept", "new", 1, 1, NULL);
    subscribe(client, "sync/kept", 1);
    printf("retained: %s\n", receive(client));
    publish(client, "sync/kept", "", 1, 1, NULL);
    printf("taken away: %s\n", receive(client)); /* who is there gets it as it came */
}

static void kept_session(MQTTClient other)
{
    MQTTClient client = make("sync-keeper");
    int present = -1, right = 0;
    char text[16], expected[32];
    check(enter(client, password, 1, NULL, NULL), "connect"); /* what was there is gone */
    leave(client);
    check(enter(client, password, 0, NULL, &present), "connect");
    printf("session present: %d", present);
    subscribe(client, "sync/away", 2);
    leave(client);
    for (int i = 0; i < EACH; i++) {
        snprintf(text, sizeof text, "%d", i);
        publish(other, "sync/away", text, 2, 0, NULL);
    }
    check(enter(client, password, 0, NULL, &present), "connect");
    for (int i = 0; i < EACH; i++) {
        snprintf(expected, sizeof expected, "%d 2 0", i);
        right += strcmp(receive(client), expected) == 0;
    }
    printf(", then %d; %d in order\n", present, right);
    leave(client);
    MQTTClient_destroy(&client);
}

/* What only 5.0 has: properties, reasons, a DISCONNECT that leaves the will. */
static void five(MQTTClient client)
{
    char *topic = NULL;
    int size = 0;
    MQTTClient_message *message = NULL;
    MQTTProperties properties = MQTTProperties_initializer;
    MQTTProperty kind = {.identifier = MQTTPROPERTY_CODE_CONTENT_TYPE, .value.data = {4, "text"}};
    MQTTProperty where = {.identifier = MQTTPROPERTY_CODE_RESPONSE_TOPIC,
                          .value.data = {6, "sync/r"}};
    MQTTProperty own = {.identifier = MQTTPROPERTY_CODE_USER_PROPERTY,
                        .value = {.data = {4, "line"}, .value = {1, "3"}}};
    MQTTProperties_add(&properties, &kind);
    MQTTProperties_add(&properties, &where);
    MQTTProperties_add(&properties, &own);
    subscribe(client, "sync/five", 1);
    publish(client, "sync/five", "x", 1, 0, &properties);
    (void)MQTTClient_receive(client, &topic, &size, &message, WAIT_MS);
    if (message) {
        MQTTProperty *type =
            MQTTProperties_getProperty(&message->properties, MQTTPROPERTY_CODE_CONTENT_TYPE);
        MQTTProperty *reply =
            MQTTProperties_getProperty(&message->properties, MQTTPROPERTY_CODE_RESPONSE_TOPIC);
        MQTTProperty *mine =
            MQTTProperties_getProperty(&message->properties, MQTTPROPERTY_CODE_USER_PROPERTY);
        if (type && reply && mine)
            printf("properties: %.*s %.*s %.*s=%.*s\n", type->value.data.len, type->value.data.data,
                   reply->value.data.len, reply->value.data.data, mine->value.data.len,
                   mine->value.data.data, mine->value.value.len, mine->value.value.data);
        MQTTClient_freeMessage(&message);
        MQTTClient_free(topic);
    }
    MQTTProperties_free(&properties);
    MQTTResponse answer = MQTTClient_unsubscribe5(client, "sync/never", NULL);
    printf("unsubscribed from nothing: %d\n", answer.reasonCode);
    MQTTResponse_free(answer);
    static char deep[256]; /* more levels than are allowed */
    memset(deep, '/', sizeof deep - 1);
    printf("refused: %d\n", subscribe(client, deep, 1));
    MQTTClient with_will = make("sync-will");
    MQTTClient_willOptions will = MQTTClient_willOptions_initializer;
    will.topicName = "sync/will";
    will.message = "gone";
    will.qos = 1;
    subscribe(client, "sync/will", 1);
    check(enter(with_will, password, 1, &will, NULL), "connect");
    check(
        MQTTClient_disconnect5(with_will, 1000, MQTTREASONCODE_DISCONNECT_WITH_WILL_MESSAGE, NULL),
        "disconnect");
    printf("will: %s\n", receive(client));
    MQTTClient_destroy(&with_will);
}

int main(int count, char **words)
{
    if (count != 6) return 2;
    uri = words[1], ca = words[2], user = words[3], password = words[4],
    version = (int)strtol(words[5], NULL, 10);
    MQTTClient client = make("sync"), stranger = make("sync-stranger");
    printf("wrong password: %d\n", enter(stranger, "wrong", 1, NULL, NULL));
    MQTTClient_destroy(&stranger);
    check(enter(client, password, 1, NULL, NULL), "connect");
    every_qos(client);
    retained(client);
    kept_session(client);
    if (version == MQTTVERSION_5) five(client);
    leave(client);
    MQTTClient_destroy(&client);
    return 0;
}
