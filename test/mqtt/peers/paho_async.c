/* paho_async.c - a program on Paho C's asynchronous client that publishes to itself, goes on while
 * the broker is gone, and comes back by itself. Prints how it goes; compiled, run and disturbed by
 * test_mqtt_peers.py, which takes the broker away when half is acknowledged and then sends a line:
 * Paho 1.3.12 forgets a message whose write meets a connection that has just ended, so none is
 * written then.
 *
 * usage: paho_async URI CAFILE|- USER PASSWORD 4|5 QOS COUNT
 * Callbacks run on Paho's threads: what they share is counted under one lock. */
#include <MQTTAsync.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COUNT_MAX = 100000, WAIT_S = 120 };

static const char *user, *password, *ca;
static int version, qos, count;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char seen[COUNT_MAX];
static int arrived, again, late, last = -1, sent, connects, subscribed, refused;

static void note(int *what)
{
    pthread_mutex_lock(&lock);
    ++*what;
    pthread_mutex_unlock(&lock);
}

static int look(const int *what)
{
    pthread_mutex_lock(&lock);
    int value = *what;
    pthread_mutex_unlock(&lock);
    return value;
}

static int on_message(void *arg, char *topic, int size, MQTTAsync_message *message)
{
    char text[16] = "";
    (void)arg, (void)size;
    memcpy(text, message->payload, message->payloadlen < 15 ? (size_t)message->payloadlen : 15);
    int number = (int)strtol(text, NULL, 10);
    pthread_mutex_lock(&lock);
    if (number >= 0 && number < COUNT_MAX) {
        if (seen[number]++) {
            again++;
        } else {
            arrived++;
            late += number < last; /* a first arrival behind a younger one */
            last = number > last ? number : last;
        }
    }
    pthread_mutex_unlock(&lock);
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}

static void on_sent(void *arg, MQTTAsync_successData *data)
{
    (void)arg, (void)data, note(&sent);
}
static void on_sent5(void *arg, MQTTAsync_successData5 *data)
{
    (void)arg, (void)data, note(&sent);
}
static void on_subscribed(void *arg, MQTTAsync_successData *data)
{
    (void)arg, (void)data, note(&subscribed);
}
static void on_subscribed5(void *arg, MQTTAsync_successData5 *data)
{
    (void)arg, (void)data, note(&subscribed);
}
static void on_refused(void *arg, MQTTAsync_failureData *data)
{
    (void)arg, (void)data, note(&refused);
}
static void on_refused5(void *arg, MQTTAsync_failureData5 *data)
{
    (void)arg, (void)data, note(&refused);
}
static void on_connected(void *arg, char *cause)
{
    (void)arg, (void)cause, note(&connects);
}

static int wait_for(const int *what, int wanted, const char *name)
{
    for (int i = 0; i < WAIT_S * 100 && look(what) < wanted; i++) usleep(10000);
    if (look(what) >= wanted) return 1;
    printf("failed: %s: %d of %d\n", name, look(what), wanted);
    return 0;
}

static MQTTAsync_responseOptions answers(int for_subscribe)
{
    MQTTAsync_responseOptions out = MQTTAsync_responseOptions_initializer;
    if (version == MQTTVERSION_5) {
        out.onSuccess5 = for_subscribe ? on_subscribed5 : on_sent5;
        out.onFailure5 = on_refused5;
    } else {
        out.onSuccess = for_subscribe ? on_subscribed : on_sent;
        out.onFailure = on_refused;
    }
    return out;
}

static int enter(MQTTAsync client)
{
    MQTTAsync_connectOptions old = MQTTAsync_connectOptions_initializer;
    MQTTAsync_connectOptions new = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_connectOptions options = version == MQTTVERSION_5 ? new : old;
    MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
    MQTTProperties properties = MQTTProperties_initializer;
    MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL,
                           .value.integer4 = 3600};
    MQTTProperties_add(&properties, &expiry);
    tls.trustStore = ca;
    tls.verify = 1;
    if (strcmp(ca, "-") != 0) options.ssl = &tls;
    /* Else it tries 3.1 when the broker is away, which tells of no session. */
    options.MQTTVersion = version;
    options.username = user;
    options.password = password;
    options.automaticReconnect = 1;
    options.minRetryInterval = 1;
    options.maxRetryInterval = 2;
    /* Paho looks but once a second whether a full window has room again. */
    options.maxInflight = 1000;
    if (version == MQTTVERSION_5)
        options.connectProperties = &properties, options.cleanstart = 0;
    else
        options.cleansession = 0;
    int rc = MQTTAsync_connect(client, &options);
    int good = rc == MQTTASYNC_SUCCESS && wait_for(&connects, 1, "connect");
    MQTTProperties_free(&properties);
    return good;
}

static int publish(MQTTAsync client, int from, int to)
{
    char text[16];
    for (int i = from; i < to; i++) {
        MQTTAsync_responseOptions answer = answers(0);
        int rc;
        snprintf(text, sizeof text, "%d", i);
        while ((rc = MQTTAsync_send(client, "async/x", (int)strlen(text), text, qos, 0, &answer)) ==
               MQTTASYNC_MAX_BUFFERED_MESSAGES)
            usleep(1000);
        if (rc != MQTTASYNC_SUCCESS) return rc;
    }
    return 0;
}

int main(int words, char **word)
{
    MQTTAsync client;
    MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer;
    if (words != 8) return 2;
    ca = word[2], user = word[3], password = word[4];
    version = (int)strtol(word[5], NULL, 10), qos = (int)strtol(word[6], NULL, 10),
    count = (int)strtol(word[7], NULL, 10);
    if (count > COUNT_MAX) return 2;
    options.MQTTVersion = version;
    options.sendWhileDisconnected = 1;
    options.maxBufferedMessages = 1000;
    if (MQTTAsync_createWithOptions(&client, word[1], "async", MQTTCLIENT_PERSISTENCE_NONE, NULL,
                                    &options) != MQTTASYNC_SUCCESS)
        return 3;
    MQTTAsync_setCallbacks(client, NULL, NULL, on_message, NULL);
    MQTTAsync_setConnected(client, NULL, on_connected);
    if (!enter(client)) return 4;
    MQTTAsync_responseOptions answer = answers(1);
    MQTTAsync_subscribe(client, "async/x", qos, &answer);
    if (!wait_for(&subscribed, 1, "subscribe")) return 5;
    int rc = publish(client, 0, count / 2);
    if (rc || !wait_for(&sent, count / 2, "acknowledged") ||
        !wait_for(&arrived, count / 2, "arrived"))
        return 8;
    printf("half\n");
    fflush(stdout);
    if (getchar() == EOF) return 9;
    rc = publish(client, count / 2, count);
    if (rc) return printf("failed: send: %d\n", rc), 6;
    int good = wait_for(&sent, count, "acknowledged") & wait_for(&arrived, count, "arrived");
    usleep(300000); /* what comes twice comes now */
    printf("connects: %d\narrived: %d\nagain: %d\nlate: %d\nrefused: %d\n", look(&connects),
           look(&arrived), look(&again), look(&late), look(&refused));
    MQTTAsync_disconnectOptions end = MQTTAsync_disconnectOptions_initializer;
    MQTTAsync_disconnect(client, &end);
    usleep(200000);
    MQTTAsync_destroy(&client);
    return good ? 0 : 7;
}
