/* SPDX-License-Identifier: MPL-2.0 */
/* Where a path that a job names may lead: rules for the text, symlinks, and the files that are read
 * and written. */
#include "paddock/buf.h"
#include "paddock/path_below.h"
#include "paddock/path_file.h"
#include "paddock/path_text.h"
#include "unit/alloc.h"
#include "unit/opens.h"

#include <fcntl.h>
#include <sys/syscall.h>

static const struct {
    const char *in, *out;
} clean_rows[] = {
    {"", "."},
    {".", "."},
    {"/", "/"},
    {"//", "/"},
    {"a", "a"},
    {"a/", "a"},
    {"a//b", "a/b"},
    {"./a/./b/.", "a/b"},
    {"a/..", "."},
    {"a/../..", ".."},
    {"../..", "../.."},
    {"../a/../b", "../b"},
    {"/..", "/"},
    {"/../a", "/a"},
    {"/a/../../b", "/b"},
    {"/a/b/../c", "/a/c"},
    {"/a/b/../..", "/"},
    {"/...", "/..."},
    {"..a/b", "..a/b"},
    {"a/b/../../../c", "../c"},
    {"/a/..b", "/a/..b"},
    {"a/../", "."},
    {"///a", "/a"},
    {"a/./../b", "b"},
};

static void test_path_text_clean__table__as_go(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(clean_rows); i++) {
        AUTO_FREE char *out = path_text_clean(clean_rows[i].in);
        if (strcmp(out, clean_rows[i].out) != 0)
            fail_msg("\"%s\" is \"%s\", want \"%s\"", clean_rows[i].in, out, clean_rows[i].out);
    }
}

static void test_path_text_join__absolute__kept(void **state) {
    (void)state;
    AUTO_FREE char *absolute = path_text_join("/base", "/x/../y");
    AUTO_FREE char *relative = path_text_join("/base", "x/../../y");
    assert_string_equal(absolute, "/y");
    assert_string_equal(relative, "/y");
}

/* ---- Resolve ---- */

/* "@" is the allocation's folder. When @real is NULL the path is refused with @r. */
static const struct {
    const char *name, *path, *real;
    int r;
    bool exists;
} resolve_rows[] = {
    {"the root itself", "@", "@", 0, true},
    {"a folder", "@/web/local", "@/web/local", 0, true},
    {"a path that does not exist", "@/web/no/such/dir", "@/web/no/such/dir", 0, false},
    {"outside by text", "/etc", NULL, -EXDEV, false},
    {"a name that begins with the folder's", "@x", NULL, -EXDEV, false},
    {"link inside", "@/web/local/in", "@/alloc/logs", 0, true},
    {"link inside, more after it", "@/web/local/in/x/y", "@/alloc/logs/x/y", 0, false},
    {"link by absolute path inside", "@/web/local/abs-in/logs", "@/alloc/logs", 0, true},
    {"link out by dots", "@/web/local/out", NULL, -EXDEV, false},
    {"link out by dots, more after it", "@/web/local/out/x", NULL, -EXDEV, false},
    {"link out by absolute path", "@/web/local/abs-out", NULL, -EXDEV, false},
    {"link to a link out", "@/web/local/twice/passwd", NULL, -EXDEV, false},
    {"link out to a missing name", "@/web/local/dangling-out", NULL, -EXDEV, false},
    {"link inside to a missing name", "@/web/local/dangling-in", "@/web/local/later", 0, false},
    {"link through a missing name and up", "@/web/local/dangling-up", NULL, -EXDEV, false},
    {"link through a folder and up, inside", "@/web/local/up-in", "@/web/secrets", 0, true},
    {"link that climbs above the root by its absolute text", "@/web/local/abs-climb", NULL, -EXDEV,
     false},
    {"link to the root", "@/web/local/root", "@", 0, true},
    {"a loop", "@/web/local/loop", NULL, -ELOOP, false},
    {"below a file", "@/web/local/file/x", NULL, -ENOTDIR, false},
    {"a file", "@/web/local/file", "@/web/local/file", 0, true},
};

static void with_alloc(char out[256], const char *text) {
    snprintf(out, 256, "%s%s", text[0] == '@' ? alloc_dir : "", text + (text[0] == '@'));
}

static void plant_links(void) {
    char path[256];
    make_link("../../alloc/logs", "a1/web/local/in");
    make_link("../../../outside", "a1/web/local/out");
    make_link("/etc", "a1/web/local/abs-out");
    make_link("abs-out", "a1/web/local/twice");
    make_link("/no/such/place", "a1/web/local/dangling-out");
    make_link("later", "a1/web/local/dangling-in");
    make_link("later/../../../../outside", "a1/web/local/dangling-up");
    make_link("../local/../secrets", "a1/web/local/up-in");
    make_link("../..", "a1/web/local/root");
    make_link("loop", "a1/web/local/loop");
    make_file("a1/web/local/file", "x");
    with_alloc(path, "@/alloc");
    make_link(path, "a1/web/local/abs-in");
    with_alloc(path, "@/web/../../outside");
    make_link(path, "a1/web/local/abs-climb");
}

static void test_path_below_resolve__links__inside_only(void **state) {
    (void)state;
    plant_links();
    for (size_t i = 0; i < ARRAY_LEN(resolve_rows); i++) {
        char path[256], want[256];
        AUTO_FREE char *real = NULL;
        AUTO_FD int fd = -EBADF;
        with_alloc(path, resolve_rows[i].path);
        int r = path_below_resolve(alloc_dir, path, &real, &fd);
        if (r != resolve_rows[i].r)
            fail_msg("%s: %d %s", resolve_rows[i].name, r, real ? real : "");
        if (r < 0) {
            assert_null(real);
            continue;
        }
        with_alloc(want, resolve_rows[i].real);
        if (strcmp(real, want) != 0 || (fd >= 0) != resolve_rows[i].exists)
            fail_msg("%s: %s %d", resolve_rows[i].name, real, fd);
    }
}

/* ---- Names swapped during the walk ---- */

/* Two names change places before the n-th openat() of the walk. A task could do this at any moment,
 * so each moment is tried. The result is a path inside or a refusal, never the place outside. */
static struct {
    char a[256], b[256];
    unsigned at[2], calls; /* 0: no swap */
} swap;

static void swap_now(void) {
    assert_int_equal(renameat2(AT_FDCWD, swap.a, AT_FDCWD, swap.b, RENAME_EXCHANGE), 0);
}

int openat(int dir_fd, const char *path, int flags, ...) {
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list ap;
        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    swap.calls++;
    for (size_t i = 0; i < ARRAY_LEN(swap.at); i++)
        if (swap.calls == swap.at[i])
            swap_now();
    return (int)syscall(SYS_openat, dir_fd, path, flags, mode);
}

/* Calls @once with the swap at each moment, and at each pair of moments (there and back). */
static void at_each_moment(const char *a, const char *b, void (*once)(void)) {
    with_alloc(swap.a, a);
    with_alloc(swap.b, b);
    unsigned most = 1;
    for (unsigned first = 0; first <= most; first++) {
        for (unsigned second = first ? first + 1 : 0; second <= most + 1; second++) {
            swap.at[0] = first;
            swap.at[1] = second;
            swap.calls = 0;
            once();
            most = swap.calls > most ? swap.calls : most;
            if ((first && first <= swap.calls) != (second && second <= swap.calls)) {
                swap.at[0] = swap.at[1] = 0;
                swap_now(); /* restores the names */
            }
        }
    }
    swap.at[0] = swap.at[1] = 0;
    assert_true(most > 2); /* otherwise no swap came during a walk */
}

static unsigned refused, accepted;

static void resolve_and_read(void) {
    static const char *const paths[] = {"@/web/local/swap-a/f", "@/web/local/via",
                                        "@/web/local/swap-a/none/x"};
    swap.calls = 0;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char path[256];
        AUTO_FREE char *real = NULL;
        AUTO_FREE char *text = NULL;
        AUTO_FD int fd = -EBADF;
        struct stat st;
        with_alloc(path, paths[i]);
        int r = path_below_resolve(alloc_dir, path, &real, &fd);
        assert_true(r == 0 ? strncmp(real, alloc_dir, strlen(alloc_dir)) == 0 : r == -EXDEV);
        if (r == 0 && fd >= 0) {
            assert_int_equal(fstat(fd, &st), 0);
            assert_int_equal(st.st_size, strlen("inside"));
        }
        refused += r < 0;
        accepted += r == 0;
        r = path_file_read(alloc_dir, path, 64, &text);
        assert_true(r == 0 ? strcmp(text, "inside") == 0 : r == -EXDEV || r == -ENOENT);
    }
}

static void test_path_below_resolve__swapped_at_any_moment__never_outside(void **state) {
    (void)state;
    make_dir("a1/web/local/swap-a");
    make_file("a1/web/local/swap-a/f", "inside");
    make_file("outside/f", "outside!");
    make_link("../../../outside", "a1/web/local/swap-b");
    make_link("swap-a/../swap-a/f", "a1/web/local/via");
    at_each_moment("@/web/local/swap-a", "@/web/local/swap-b", resolve_and_read);
    assert_true(refused > 0 && accepted > 0); /* both results occurred */
}

static void write_both(void) {
    char dir[256], path[256];
    struct stat st;
    with_alloc(dir, "@/web/sub");
    swap.calls = 0;
    int r = path_file_write(alloc_dir, dir, "resolv.conf", "x", NULL, PATH_FILE_REPLACE);
    assert_true(r == 1 || r == -EXDEV);
    r = path_file_write(alloc_dir, dir, "hosts", "x", NULL, PATH_FILE_IF_ABSENT);
    assert_true(r == 0 || r == 1 || r == -EXDEV);
    static const char *const names[] = {"resolv.conf", "hosts"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/outside/%s", root, names[i]);
        assert_int_equal(lstat(path, &st), -1);
    }
}

static void test_path_file_write__swapped_at_any_moment__never_outside(void **state) {
    (void)state;
    make_dir("a1/web/sub");
    make_link("../../outside", "a1/web/sub-b");
    at_each_moment("@/web/sub", "@/web/sub-b", write_both);
}

/* ---- Read ---- */

static void test_path_file_read__kinds(void **state) {
    (void)state;
    AUTO_FREE char *text = NULL;
    char path[256];
    make_file("a1/web/local/four", "1234");
    with_alloc(path, "@/web/local/four");
    assert_int_equal(path_file_read(alloc_dir, path, 3, &text), -EFBIG);
    assert_null(text);
    assert_int_equal(path_file_read(alloc_dir, path, 4, &text), 0);
    assert_string_equal(text, "1234");
    cleanup_free(&text);
    text = NULL;
    with_alloc(path, "@/web/local");
    assert_int_equal(path_file_read(alloc_dir, path, 64, &text), -EINVAL);
    with_alloc(path, "@/web/local/nope");
    assert_int_equal(path_file_read(alloc_dir, path, 64, &text), -ENOENT);
    with_alloc(path, "@/web/local/fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(path_file_read(alloc_dir, path, 64, &text), -EINVAL);
    assert_int_equal(path_file_read(alloc_dir, "/etc/passwd", 1 << 20, &text), -EXDEV);
    assert_int_equal(path_file_read(NULL, "/etc/passwd", 1 << 20, &text), 0);
}

/* A device node that a task made must not be opened, because open() alone can start a watchdog.
 * Only root can make a device node, so a FIFO stands for it. */
static void test_path_file_open_stored__no_regular_file__not_opened(void **state) {
    (void)state;
    char path[256];
    with_alloc(path, "@/web/local/node");
    assert_int_equal(mkfifo(path, 0600), 0);
    const char *const roots[] = {alloc_dir, NULL};
    for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
        AUTO_FD int opens = opens_watch(path);
        AUTO_FD int fd = -EBADF;
        assert_int_equal(path_file_open_stored(roots[i], path, &fd), -EINVAL);
        assert_false(opens_seen(opens));
    }
}

/* ---- Write ---- */

static void test_path_file_open_stored__kinds(void **state) {
    (void)state;
    static const struct {
        const char *path;
        int r;
    } rows[] = {
        {"@/web/local/text", 0},
        {"@/web/local/empty", -ENODATA},
        {"/proc/kmsg", -ENODATA},
        {"/proc/self/status", -ENODATA},
        {"/sys/devices/system/cpu/online", -ENODATA}, /* stat() reports a size of 4096 */
        {"/dev/zero", -EINVAL},
        {"/proc", -EINVAL},
    };
    make_file("a1/web/local/text", "text");
    make_file("a1/web/local/empty", "");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char path[256];
        AUTO_FD int fd = -EBADF;
        with_alloc(path, rows[i].path);
        int r = path_file_open_stored(NULL, path, &fd);
        if (r != rows[i].r || (fd >= 0) != (r == 0))
            fail_msg("%s: %d, want %d", path, r, rows[i].r);
    }
    /* A refused file is not opened. */
    char path[256];
    with_alloc(path, "@/web/local/empty");
    AUTO_FD int opens = opens_watch(path);
    AUTO_FD int fd = -EBADF;
    assert_int_equal(path_file_open_stored(alloc_dir, path, &fd), -ENODATA);
    assert_false(opens_seen(opens));
}

static void test_path_file_write__replace__link_is_not_followed(void **state) {
    (void)state;
    char path[256];
    make_file("outside/victim", "keep");
    make_link("../../../outside/victim", "a1/web/local/target");
    with_alloc(path, "@/web/local");
    mode_t mask = umask(077);
    int r = path_file_write(alloc_dir, path, "target", "new", NULL, PATH_FILE_REPLACE);
    umask(mask);
    assert_int_equal(r, 1);
    AUTO_FREE char *victim = read_text("outside/victim");
    AUTO_FREE char *target = read_text("a1/web/local/target");
    assert_string_equal(victim, "keep");
    assert_string_equal(target, "new");
    struct stat st;
    with_alloc(path, "@/web/local/target");
    assert_int_equal(lstat(path, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0644);
}

static void test_path_file_write__if_absent(void **state) {
    (void)state;
    char path[256];
    with_alloc(path, "@/web/secrets");
    enum path_file_how how = PATH_FILE_IF_ABSENT;
    assert_int_equal(path_file_write(alloc_dir, path, "h", "one", NULL, how), 1);
    assert_int_equal(path_file_write(alloc_dir, path, "h", "two", NULL, how), 0);
    AUTO_FREE char *text = read_text("a1/web/secrets/h");
    assert_string_equal(text, "one");
    make_link("nowhere", "a1/web/secrets/link");
    assert_int_equal(path_file_write(alloc_dir, path, "link", "two", NULL, how), -EEXIST);
    /* No temporary link of the write is left. */
    with_alloc(path, "@/web/secrets/h");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_nlink, 1);
}

static void test_path_file_write__folder_outside__refused(void **state) {
    (void)state;
    char path[256];
    make_link("../../outside", "a1/web/away");
    with_alloc(path, "@/web/away");
    assert_int_equal(path_file_write(alloc_dir, path, "h", "x", NULL, PATH_FILE_REPLACE), -EXDEV);
    with_alloc(path, "@/web/nope");
    assert_int_equal(path_file_write(alloc_dir, path, "h", "x", NULL, PATH_FILE_REPLACE), -ENOENT);
}

/* Only root can change a file's owner. For another user the owner is this process. */
static void test_path_below_make__owner__of_what_is_made_alone(void **state) {
    (void)state;
    bool root_user = geteuid() == 0;
    const struct path_owner owner = {root_user ? 12345 : geteuid(), root_user ? 54321 : getegid()};
    const struct {
        const char *path;
        bool made;
    } rows[] = {{"@/web/local", false}, {"@/web/local/new", true}, {"@/web/local/new/here", true}};
    char path[256];
    AUTO_FREE char *real = NULL;
    AUTO_FD int fd = -EBADF;
    with_alloc(path, "@/web/local/new/here");
    assert_int_equal(path_below_make(alloc_dir, path, &owner, &real, &fd), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stat st;
        with_alloc(path, rows[i].path);
        assert_int_equal(lstat(path, &st), 0);
        assert_int_equal(st.st_uid, rows[i].made ? owner.uid : geteuid());
        assert_int_equal(st.st_gid, rows[i].made ? owner.gid : getegid());
    }
    struct stat st;
    with_alloc(path, "@/web/local");
    assert_int_equal(path_file_write(alloc_dir, path, "hosts", "x", &owner, PATH_FILE_REPLACE), 1);
    with_alloc(path, "@/web/local/hosts");
    assert_int_equal(lstat(path, &st), 0);
    assert_true(st.st_uid == owner.uid && st.st_gid == owner.gid);
}

int main(int argc, char **argv) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_alloc, teardown_alloc)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path_text_clean__table__as_go),
        cmocka_unit_test(test_path_text_join__absolute__kept),
        TEST(test_path_below_resolve__links__inside_only),
        TEST(test_path_below_resolve__swapped_at_any_moment__never_outside),
        TEST(test_path_file_write__swapped_at_any_moment__never_outside),
        TEST(test_path_file_read__kinds),
        TEST(test_path_file_open_stored__no_regular_file__not_opened),
        TEST(test_path_file_open_stored__kinds),
        TEST(test_path_below_make__owner__of_what_is_made_alone),
        TEST(test_path_file_write__replace__link_is_not_followed),
        TEST(test_path_file_write__if_absent),
        TEST(test_path_file_write__folder_outside__refused),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
