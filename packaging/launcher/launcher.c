/* One file that unpacks Sluice once per version into the user's cache and becomes it.
 *
 *     sluice = this program + a ZIP archive (the tree; in the full flavour also the models)
 *
 * The archive's comment names the version, a hash of the content and the unpacked size, so a start
 * of an unpacked version reads a hundred bytes and executes: about a millisecond, with nothing
 * mapped and no second process left. `unzip -l` shows what is inside.
 *
 *     CACHE/sluice/runtime/lock            held while a version is unpacked or removed
 *     CACHE/sluice/runtime/VERSION-HASH/   one unpacked version; in use while its `.complete` is
 *                                          locked, which the program inherits and holds for life
 *     CACHE/sluice/runtime/.partial-...    an unpacking that is under way, or was interrupted
 *
 * A tree gets its name by a rename after every member had its size and checksum and the file
 * system was flushed: it is whole or not there. A second start waits for the lock; the lock ends
 * with its holders. Versions that nobody uses are removed after a new one was unpacked.
 *
 * The checksums guard against accidents (a stick pulled out too early, a bad disk). Who can change
 * this file could change this program too, so nothing here claims to keep an attacker out; but the
 * cache must belong to the caller alone, for programs are executed from it. */

#define _GNU_SOURCE

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inflate.h"

/* EX_UNAVAILABLE, EX_IOERR and EX_CONFIG of sysexits, as in appliance/errors.py. */
enum { EXIT_KILLED = 1, EXIT_DAMAGED = 69, EXIT_DISK = 74, EXIT_CONFIGURATION = 78 };
enum { COMMENT_BYTES = 96, END_BYTES = 22, MEMBER_BYTES = 46, LOCAL_BYTES = 30 };
enum { RESERVE_BYTES = 64 << 20, MOST_UNPACKERS = 8 };

static const char PROGRAM[] = "sluice", COMPLETE[] = ".complete", TREE[] = "tree/";

typedef struct {
    int descriptor;
    char path[PATH_MAX];
    uint64_t bytes;
    uint8_t end[END_BYTES];
    char hash[33], version[32];
    unsigned long long unpacked_bytes;
} Archive;

typedef struct {
    const uint8_t *header, *name;
    unsigned name_bytes, mode, method;
    uint64_t packed_bytes, bytes, offset;
    uint32_t crc;
} Member;

/* What the unpacking processes have in common. */
typedef struct {
    _Atomic unsigned next;
    _Atomic uint64_t done_bytes;
    _Atomic int failed;
} Shared;

static Shared *shared;

/* --- what a person is told ------------------------------------------------------------------ */

static int chinese(void) {
    const char *names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) return !strncmp(value, "zh", 2);
    }
    return 0;
}

/* A double-click has no terminal: what went wrong is shown by the first program that can. */
static void show_on_desktop(const char *text) {
    if (isatty(2) || !(getenv("DISPLAY") || getenv("WAYLAND_DISPLAY"))) return;
    char *const commands[][5] = {
        {"zenity", "--error", "--no-markup", "--text", (char *)text},
        {"kdialog", "--error", (char *)text, NULL, NULL},
        {"notify-send", "Sluice", (char *)text, NULL, NULL},
        {"xmessage", (char *)text, NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            char *arguments[6] = {0};
            memcpy(arguments, commands[i], sizeof commands[i]);
            execvp(arguments[0], arguments);
            _exit(127);
        }
        if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) != 127)
            return;
    }
}

static void fail(int status, const char *english, const char *zh, ...) __attribute__((noreturn));

/* Both texts take the same arguments. Of several unpacking processes the first one speaks. */
static void fail(int status, const char *english, const char *zh, ...) {
    char text[2 * PATH_MAX];
    va_list arguments;
    if (shared && atomic_exchange(&shared->failed, 1)) _exit(status);
    va_start(arguments, zh);
    vsnprintf(text, sizeof text, chinese() ? zh : english, arguments);
    va_end(arguments);
    fprintf(stderr, "sluice: %s\n", text);
    show_on_desktop(text);
    exit(status);
}

static void fail_writing(const char *path) __attribute__((noreturn));

static void fail_writing(const char *path) {
    int error = errno;
    if (error == ENOSPC || error == EDQUOT)
        fail(EXIT_DISK,
             "the disk is full: %s cannot be written.\n"
             "        Make room, or set XDG_CACHE_HOME to a folder with room, and start again.",
             "磁盘已满：无法写入 %s。\n        请清理空间，或将 XDG_CACHE_HOME 设为有空间的文件夹，然后重新启动。", path);
    fail(EXIT_CONFIGURATION,
         "%s cannot be written: %s.\n"
         "        Sluice unpacks itself once into the cache; set XDG_CACHE_HOME to a folder of yours.",
         "无法写入 %s：%s。\n        Sluice 会在缓存中解包一次；请将 XDG_CACHE_HOME 设为您可写的文件夹。", path,
         strerror(error));
}

static void fail_damaged(const Archive *archive, const char *what) __attribute__((noreturn));

static void fail_damaged(const Archive *archive, const char *what) {
    fail(EXIT_DAMAGED,
         "%s is damaged or was not copied whole (%s).\n        Copy it again from where it came.",
         "%s 已损坏或未完整复制（%s）。\n        请从原处重新复制。", archive->path, what);
}

/* A new text; there are few, and none outlives this short program. */
static char *joined(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *joined(const char *format, ...) {
    char *text;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0) abort();
    if (length >= PATH_MAX) {
        errno = ENAMETOOLONG;
        fail_writing(text);
    }
    return text;
}

/* --- the archive ---------------------------------------------------------------------------- */

static unsigned two(const uint8_t *at) { return at[0] | (unsigned)at[1] << 8; }
static uint32_t four(const uint8_t *at) { return two(at) | (uint32_t)two(at + 2) << 16; }

static void open_archive(Archive *archive) {
    struct stat facts;
    uint8_t tail[END_BYTES + COMMENT_BYTES + 1] = {0};
    ssize_t length = readlink("/proc/self/exe", archive->path, sizeof archive->path - 1);
    if (length < 0) fail(EXIT_CONFIGURATION, "/proc is needed and not there.", "需要 /proc，但系统中没有。");
    archive->path[length] = 0;
    archive->descriptor = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (archive->descriptor < 0 || fstat(archive->descriptor, &facts))
        fail(EXIT_DAMAGED, "%s cannot be read: %s", "无法读取 %s：%s", archive->path, strerror(errno));
    archive->bytes = (uint64_t)facts.st_size;
    off_t start = facts.st_size - END_BYTES - COMMENT_BYTES;
    if (start < 0 || pread(archive->descriptor, tail, END_BYTES + COMMENT_BYTES, start) != END_BYTES + COMMENT_BYTES)
        fail_damaged(archive, "no archive");
    memcpy(archive->end, tail, END_BYTES);
    if (memcmp(tail, "PK\5\6", 4) || two(tail + 20) != COMMENT_BYTES ||
        sscanf((char *)tail + END_BYTES, "sluice-file 1 %32s %31s %llu", archive->hash, archive->version,
               &archive->unpacked_bytes) != 3)
        fail_damaged(archive, "its end is missing");
}

static Member *read_members(const Archive *archive, const uint8_t *mapped, unsigned *count) {
    *count = two(archive->end + 10);
    uint64_t offset = four(archive->end + 16), limit = offset + four(archive->end + 12);
    Member *members = calloc(*count + 1, sizeof *members);
    if (!members) fail_writing("memory");
    for (unsigned i = 0; i < *count; i++) {
        const uint8_t *header = mapped + offset;
        if (limit > archive->bytes || offset + MEMBER_BYTES > limit || memcmp(header, "PK\1\2", 4))
            fail_damaged(archive, "its list of files");
        Member *member = members + i;
        *member = (Member){header, header + MEMBER_BYTES, two(header + 28), four(header + 38) >> 16,
                           two(header + 10), four(header + 20), four(header + 24), four(header + 42),
                           four(header + 16)};
        offset += MEMBER_BYTES + member->name_bytes + two(header + 30) + two(header + 32);
        if (offset > limit || member->name_bytes >= 1024) fail_damaged(archive, "its list of files");
    }
    return members;
}

static const uint8_t *packed(const Archive *archive, const uint8_t *mapped, const Member *member) {
    if (member->offset + LOCAL_BYTES > archive->bytes) fail_damaged(archive, "a file's place");
    const uint8_t *local = mapped + member->offset;
    uint64_t start = member->offset + LOCAL_BYTES + two(local + 26) + two(local + 28);
    if (memcmp(local, "PK\3\4", 4) || start + member->packed_bytes > archive->bytes)
        fail_damaged(archive, "a file's place");
    return mapped + start;
}

/* --- unpacking ------------------------------------------------------------------------------ */

static void make_parents(char *path, size_t from) {
    for (char *at = path + from; (at = strchr(at, '/')); at++) {
        *at = 0;
        struct stat facts;
        if (mkdir(path, 0700) && (stat(path, &facts) || !S_ISDIR(facts.st_mode))) fail_writing(path);
        *at = '/';
    }
}

static void write_file(const char *path, const uint8_t *bytes, uint64_t count, unsigned mode) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0100 ? 0700 : 0600);
    if (descriptor < 0) fail_writing(path);
    for (uint64_t done = 0; done < count;) {
        ssize_t written = write(descriptor, bytes + done, count - done);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) fail_writing(path);
        done += (uint64_t)written;
    }
    if (close(descriptor)) fail_writing(path);
}

static void unpack_member(const Archive *archive, const uint8_t *mapped, const Member *member, const char *root) {
    char name[1024];
    memcpy(name, member->name, member->name_bytes);
    name[member->name_bytes] = 0;
    const char *inside = name + strlen(TREE);
    if (strstr(name, "..") || *inside == '/' || strlen(name) != member->name_bytes) fail_damaged(archive, "a name");
    char *path = joined("%s/%s", root, inside);
    make_parents(path, strlen(root) + 1);
    const uint8_t *from = packed(archive, mapped, member);
    uint8_t *bytes = malloc(member->bytes + 1);
    if (!bytes) fail_writing(path);
    int whole = member->method == 0 && member->packed_bytes == member->bytes;
    if (whole) memcpy(bytes, from, member->bytes);
    if (member->method == 8) whole = inflate_raw(from, member->packed_bytes, bytes, member->bytes);
    if (!whole || crc32_of(bytes, member->bytes) != member->crc) fail_damaged(archive, inside);
    bytes[member->bytes] = 0;
    if (S_ISLNK(member->mode)) {
        if (symlink((char *)bytes, path)) fail_writing(path);
    } else {
        write_file(path, bytes, member->bytes, member->mode);
    }
    free(bytes);
    free(path);
}

/* One of several processes that take members off a common list, the largest first. Each has a copy
 * of the descriptor that holds the lock: nobody else begins before the last of them has ended. */
static void unpack_some(const Archive *archive, const uint8_t *mapped, const Member *members, unsigned count,
                        const char *root) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (unsigned i; (i = atomic_fetch_add(&shared->next, 1)) < count;) {
        unpack_member(archive, mapped, members + i, root);
        atomic_fetch_add(&shared->done_bytes, members[i].bytes);
    }
    _exit(0);
}

static int by_size(const void *one, const void *other) {
    uint64_t a = ((const Member *)one)->bytes, b = ((const Member *)other)->bytes;
    return a < b ? 1 : a > b ? -1 : 0;
}

static void show_progress(const Archive *archive, int ended) {
    if (!isatty(2)) return;
    uint64_t done = atomic_load(&shared->done_bytes);
    unsigned percent = archive->unpacked_bytes ? (unsigned)(100 * done / archive->unpacked_bytes) : 100;
    fprintf(stderr, chinese() ? "\r正在解包 Sluice %s，仅此一次：%u %%" : "\runpacking Sluice %s, this once: %u %%",
            archive->version, ended ? 100 : percent);
    if (ended) fprintf(stderr, "\r\33[K");
}

/* 0, or the exit status of the process that could not unpack its part. */
static int unpack_all(const Archive *archive, const char *root) {
    const uint8_t *mapped = mmap(NULL, archive->bytes, PROT_READ, MAP_PRIVATE, archive->descriptor, 0);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED || shared == MAP_FAILED) fail_writing("memory");
    unsigned all, count = 0;
    Member *members = read_members(archive, mapped, &all);
    for (unsigned i = 0; i < all; i++) {
        int ours = members[i].name_bytes > strlen(TREE) && !memcmp(members[i].name, TREE, strlen(TREE));
        if (ours) members[count++] = members[i];
    }
    qsort(members, count, sizeof *members, by_size);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int workers = cores < 1 ? 1 : cores > MOST_UNPACKERS ? MOST_UNPACKERS : (int)cores;
    for (int i = 0; i < workers; i++) {
        pid_t child = fork();
        if (child < 0 && i == 0) fail_writing("a process");
        if (child < 0) workers = i;
        if (child == 0) unpack_some(archive, mapped, members, count, root);
    }
    int failure = 0;
    for (int ended = 0, status; ended < workers;) {
        pid_t child = waitpid(-1, &status, isatty(2) ? WNOHANG : 0);
        if (child > 0) {
            ended++;
            if (!WIFEXITED(status)) failure = EXIT_KILLED;
            if (WIFEXITED(status) && WEXITSTATUS(status)) failure = WEXITSTATUS(status);
            if (failure) atomic_store(&shared->next, count); /* the others stop after their member */
        } else if (child == 0) {
            show_progress(archive, 0);
            usleep(50000);
        }
    }
    show_progress(archive, 1);
    munmap((void *)mapped, archive->bytes);
    shared = NULL;
    return failure;
}

/* --- the cache ------------------------------------------------------------------------------ */

static void remove_tree(int folder, const char *name) {
    if (!unlinkat(folder, name, 0) || errno == ENOENT) return;
    int descriptor = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor < 0) return;
    DIR *listing = fdopendir(descriptor);
    for (struct dirent *entry; listing && (entry = readdir(listing));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) remove_tree(dirfd(listing), entry->d_name);
    if (listing) closedir(listing);
    unlinkat(folder, name, AT_REMOVEDIR);
}

/* The folder of all versions, made if need be. It is ours alone, for we execute from it. */
static char *find_cache(void) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *runtime = NULL;
    if (cache && *cache == '/')
        runtime = joined("%s/sluice/runtime/", cache);
    else if (home && *home == '/')
        runtime = joined("%s/.cache/sluice/runtime/", home);
    else
        fail(EXIT_CONFIGURATION, "neither HOME nor XDG_CACHE_HOME is set.\n        Set one to a folder of yours.",
             "HOME 与 XDG_CACHE_HOME 均未设置。\n        请将其中之一设为您的文件夹。");
    struct stat facts;
    make_parents(runtime, 1);
    runtime[strlen(runtime) - 1] = 0;
    if (stat(runtime, &facts)) fail_writing(runtime);
    if (facts.st_uid != geteuid())
        fail(EXIT_CONFIGURATION,
             "%s belongs to another user, and programs are executed from it.\n"
             "        Set XDG_CACHE_HOME to a folder of yours.",
             "%s 属于其他用户，而程序将从中执行。\n        请将 XDG_CACHE_HOME 设为您自己的文件夹。", runtime);
    if (facts.st_mode & 022)
        fail(EXIT_CONFIGURATION, "others may write to %s, and programs are executed from it.\n        Run: chmod 700 '%s'",
             "其他用户可写入 %s，而程序将从中执行。\n        请运行：chmod 700 '%s'", runtime, runtime);
    return runtime;
}

/* The locked mark of a whole tree, or -1. Removal locks it too, so it is looked at again. */
static int use_tree(const char *tree) {
    struct stat held, named;
    char *mark = joined("%s/%s", tree, COMPLETE);
    int descriptor = open(mark, O_RDONLY); /* inherited: locked for as long as the program lives */
    if (descriptor < 0) return -1;
    if (!flock(descriptor, LOCK_SH) && !fstat(descriptor, &held) && !stat(mark, &named) &&
        held.st_ino == named.st_ino)
        return descriptor;
    close(descriptor);
    return -1;
}

/* Removes interrupted unpackings, and versions that nobody uses. The lock is held. */
static void clean_up(const char *runtime, const char *kept) {
    DIR *listing = opendir(runtime);
    if (!listing) return;
    for (struct dirent *entry; (entry = readdir(listing));) {
        const char *name = entry->d_name;
        if (!strcmp(name, ".") || !strcmp(name, "..") || !strcmp(name, "lock") || !strcmp(name, kept)) continue;
        int descriptor = open(joined("%s/%s/%s", runtime, name, COMPLETE), O_RDONLY | O_CLOEXEC);
        if (descriptor >= 0 && flock(descriptor, LOCK_EX | LOCK_NB)) {
            close(descriptor);
            continue;
        }
        const char *doomed = joined(".partial-%.200s", name);
        if (*name != '.' && !renameat(dirfd(listing), name, dirfd(listing), doomed)) name = doomed;
        remove_tree(dirfd(listing), name);
        if (descriptor >= 0) close(descriptor);
    }
    closedir(listing);
}

static void require_room(const Archive *archive, const char *runtime) {
    struct statvfs facts;
    if (statvfs(runtime, &facts)) return;
    unsigned long long needed = archive->unpacked_bytes + RESERVE_BYTES;
    unsigned long long room = (unsigned long long)facts.f_bavail * facts.f_frsize;
    if (room < needed)
        fail(EXIT_DISK,
             "%1$llu MB are needed to unpack once, and %2$llu MB are free in %3$s.\n"
             "        Make room, or set XDG_CACHE_HOME to a folder with room, and start again.",
             "首次解包需要 %1$llu MB，而 %3$s 中只有 %2$llu MB 可用。\n"
             "        请清理空间，或将 XDG_CACHE_HOME 设为有空间的文件夹，然后重新启动。",
             needed / 1000000, room / 1000000, runtime);
}

static void take_lock(const char *runtime) {
    char *path = joined("%s/lock", runtime);
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0) fail_writing(path);
    if (flock(lock, LOCK_EX | LOCK_NB)) {
        if (isatty(2))
            fputs(chinese() ? "sluice: 正在等待另一次启动完成解包…\n" : "sluice: another start is unpacking, waiting…\n",
                  stderr);
        while (flock(lock, LOCK_EX))
            if (errno != EINTR) fail_writing(path);
    }
}

/* Unpacks into a partial tree, flushes it and gives it its name. */
static void install(const Archive *archive, const char *runtime, const char *name, const char *tree) {
    char *partial = joined("%s/.partial-%s", runtime, name);
    clean_up(runtime, name);
    require_room(archive, runtime);
    if (mkdir(partial, 0700)) fail_writing(partial);
    int failure = unpack_all(archive, partial);
    if (failure) {
        remove_tree(AT_FDCWD, partial);
        exit(failure);
    }
    write_file(joined("%s/%s", partial, COMPLETE), (const uint8_t *)archive->path, strlen(archive->path), 0);
    int folder = open(runtime, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || syncfs(folder)) fail_writing(partial);
    if (rename(partial, tree)) {
        remove_tree(AT_FDCWD, tree); /* one without its mark, which somebody has tampered with */
        if (rename(partial, tree)) fail_writing(tree);
    }
    fsync(folder);
    close(folder);
}

static void become(const Archive *archive, const char *tree, char **arguments) {
    char *program = joined("%s/%s", tree, PROGRAM);
    setenv("SLUICE_FILE", archive->path, 1);
    execv(program, arguments);
    int error = errno;
    if (error == EACCES)
        fail(EXIT_CONFIGURATION,
             "%s may not be executed; its disk is probably mounted `noexec`.\n"
             "        Set XDG_CACHE_HOME to a folder where programs may run.",
             "不允许执行 %s；其所在磁盘可能以 noexec 挂载。\n        请将 XDG_CACHE_HOME 设为允许运行程序的文件夹。", program);
    if (error == ENOENT)
        fail(EXIT_CONFIGURATION, "%s cannot be executed: this system has no glibc.\n        A Linux with glibc is needed.",
             "无法执行 %s：本系统没有 glibc。\n        需要带 glibc 的 Linux。", program);
    fail(EXIT_CONFIGURATION, "%s cannot be executed: %s", "无法执行 %s：%s", program, strerror(error));
}

int main(int count, char **arguments) {
    static Archive archive;
    (void)count;
    umask(077);
    open_archive(&archive);
    char *runtime = find_cache();
    char *name = joined("%s-%.16s", archive.version, archive.hash);
    char *tree = joined("%s/%s", runtime, name);
    if (use_tree(tree) < 0) {
        take_lock(runtime);
        int used = use_tree(tree); /* another start may have unpacked it meanwhile */
        if (used < 0) install(&archive, runtime, name, tree);
        if (used < 0 && use_tree(tree) < 0) fail_writing(tree);
    }
    become(&archive, tree, arguments);
    return EXIT_CONFIGURATION;
}
