/* The smallest possible RTP relay in C: epoll_wait, recv, send. Same use as floor_relay.py: see there. */

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_DESCRIPTORS 65536
#define BATCH 256

static int other[MAX_DESCRIPTORS];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int open_socket(int epoll, const char *address, const char *host, int port)
{
    struct sockaddr_in ours = {.sin_family = AF_INET}, phone = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct epoll_event event = {.events = EPOLLIN};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    if (fd < 0 || fd >= MAX_DESCRIPTORS)
        die("socket");
    inet_pton(AF_INET, address, &ours.sin_addr);
    inet_pton(AF_INET, host, &phone.sin_addr);
    event.data.fd = fd;
    if (bind(fd, (struct sockaddr *)&ours, sizeof ours) || connect(fd, (struct sockaddr *)&phone, sizeof phone)
        || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
        die("bind, connect or epoll_ctl");
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_in name;
    socklen_t size = sizeof name;

    if (getsockname(fd, (struct sockaddr *)&name, &size))
        die("getsockname");
    return ntohs(name.sin_port);
}

/* One line of standard input; it is read without stdio's buffer, which epoll would not see. */
static void add_call(int epoll, const char *address)
{
    char line[128], host_a[64], host_b[64];
    size_t length = 0;
    int port_a, port_b;

    while (length < sizeof line - 1 && read(0, line + length, 1) == 1 && line[length] != '\n')
        length++;
    line[length] = 0;
    if (length == 0)
        exit(0);
    if (sscanf(line, "%63s %d %63s %d", host_a, &port_a, host_b, &port_b) != 4)
        die("standard input");
    int a = open_socket(epoll, address, host_a, port_a), b = open_socket(epoll, address, host_b, port_b);
    other[a] = b;
    other[b] = a;
    printf("%d %d\n", port_of(a), port_of(b));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct epoll_event ready[BATCH], event = {.events = EPOLLIN, .data.fd = 0};
    char packet[2048];
    struct timespec pause = {0};
    int epoll = epoll_create1(0);

    if (argc > 2)
        pause.tv_nsec = atof(argv[2]) * 1e9;
    if (argc < 2 || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event))
        die("usage: floor_relay ADDRESS [COALESCE_S]; epoll");
    puts("ready");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll, ready, BATCH, -1);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            if (fd == 0) {
                add_call(epoll, argv[1]);
                continue;
            }
            ssize_t size = recv(fd, packet, sizeof packet, 0);
            if (size >= 0)
                send(other[fd], packet, size, 0);
        }
        if (pause.tv_nsec)
            nanosleep(&pause, NULL);
    }
}
