/* A new thread for each call would often begin on the caller's own processor and wait there for a turn of some milliseconds; one
   that sleeps is woken on a processor that is free. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stddef.h>

#include "helpers.h"

enum { MOST_HELPERS = 64 };

typedef struct Task {
    void (*work)(void *);
    void *argument;
    int wanted, running; /* helpers that may still come, and that are there */
    struct Task *next;
} Task;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below, and of every task */
static pthread_cond_t task_came = PTHREAD_COND_INITIALIZER, task_left = PTHREAD_COND_INITIALIZER;
static Task *tasks; /* those that want helpers, the oldest first */
static int helpers, busy, wanted_by_all;
static pthread_once_t forks_seen_to = PTHREAD_ONCE_INIT;

static void before_fork(void) { pthread_mutex_lock(&lock); }

static void after_fork(void) { pthread_mutex_unlock(&lock); }

/* Of all threads a fork copies one: helpers are gone, and so are the callers whose tasks these were. */
static void after_fork_in_child(void) {
    tasks = NULL;
    helpers = busy = wanted_by_all = 0;
    pthread_cond_init(&task_came, NULL);
    pthread_cond_init(&task_left, NULL);
    pthread_mutex_init(&lock, NULL);
}

static void see_to_forks(void) { pthread_atfork(before_fork, after_fork, after_fork_in_child); }

static void *help(void *unused) {
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (!tasks) pthread_cond_wait(&task_came, &lock);
        Task *task = tasks;
        busy++;
        task->running++;
        wanted_by_all--;
        if (--task->wanted == 0) tasks = task->next;
        pthread_mutex_unlock(&lock);
        task->work(task->argument);
        pthread_mutex_lock(&lock);
        busy--;
        if (--task->running == 0) pthread_cond_broadcast(&task_left);
    }
    return NULL;
}

/* With the lock: starts helpers until there is an idle one for everyone who is wanted, where that is possible. */
static void start_helpers(void) {
    sigset_t every, before;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before); /* signals are for the program's own threads */
    for (pthread_t helper; helpers - busy < wanted_by_all && helpers < MOST_HELPERS; helpers++) {
        if (pthread_create(&helper, NULL, help, NULL) != 0) break;
        pthread_detach(helper);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void ask_for_help(Task *task) {
    pthread_once(&forks_seen_to, see_to_forks);
    pthread_mutex_lock(&lock);
    Task **last = &tasks;
    while (*last) last = &(*last)->next;
    *last = task;
    wanted_by_all += task->wanted;
    if (helpers - busy < wanted_by_all) start_helpers();
    for (int i = 0; i < task->wanted; i++) pthread_cond_signal(&task_came);
    pthread_mutex_unlock(&lock);
}

static void wait_for_helpers(Task *task) {
    pthread_mutex_lock(&lock);
    for (Task **at = &tasks; *at; at = &(*at)->next)
        if (*at == task) {
            *at = task->next;
            break;
        }
    wanted_by_all -= task->wanted;
    while (task->running) pthread_cond_wait(&task_left, &lock);
    pthread_mutex_unlock(&lock);
}

void together(void (*work)(void *), void *argument, int threads) {
    Task task = {.work = work, .argument = argument, .wanted = threads - 1};
    if (task.wanted > 0) ask_for_help(&task);
    work(argument);
    if (threads > 1) wait_for_helpers(&task);
}
