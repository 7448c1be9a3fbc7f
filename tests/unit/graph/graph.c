/* Order and cycles of plain graphs. */
#include "graph/graph.h"

#include "base/str.h"
#include "unit/test.h"

/* "a>b" edges: b needs a. */
static struct sl_graph make(int n, const char *edges) {
    struct sl_graph g;
    sl_graph_init(&g, n);
    for (; *edges; edges += strcspn(edges, " ") + (edges[strcspn(edges, " ")] == ' '))
        sl_graph_add_edge(&g, edges[0] - 'a', edges[2] - 'a');
    return g;
}

static const char *order_of(int n, const char *edges) {
    static char text[64];
    int order[32];
    struct sl_graph g = make(n, edges);
    int count = sl_graph_sort(&g, order);
    for (int i = 0; i < count; i++)
        text[i] = (char)('a' + order[i]);
    text[count] = 0;
    sl_graph_finish(&g);
    return text;
}

static void add_cycle(void *context, const int *path, int n) {
    for (int i = 0; i < n; i++)
        sl_str_addf(context, "%c", 'a' + path[i]);
    sl_str_add(context, " ");
}

static const char *cycles_of(int n, const char *edges) {
    static struct sl_str out;
    struct sl_graph g = make(n, edges);
    sl_str_clear(&out);
    sl_graph_cycles(&g, add_cycle, &out);
    sl_graph_finish(&g);
    return sl_str_text(&out);
}

TEST(the_order_is_that_of_the_file_where_it_can_be) {
    CHECK_STR(order_of(4, ""), "abcd");
    CHECK_STR(order_of(4, "a>b b>c c>d"), "abcd");
    CHECK_STR(order_of(4, "d>a"), "bcda");
    CHECK_STR(order_of(5, "e>a a>b"), "cdeab");
    CHECK_STR(order_of(3, "a>b a>b a>c"), "abc"); /* edges may repeat */
    CHECK_STR(order_of(0, ""), "");
}

TEST(what_is_on_or_behind_a_cycle_has_no_place) {
    CHECK_STR(order_of(4, "b>c c>b c>d"), "a");
    CHECK_STR(order_of(2, "a>a"), "b");
}

TEST(each_cycle_is_told_once_from_its_lowest_node) {
    CHECK_STR(cycles_of(3, "a>b b>c"), "");
    CHECK_STR(cycles_of(3, "a>b b>a"), "aba ");
    CHECK_STR(cycles_of(2, "b>b"), "bb ");
    CHECK_STR(cycles_of(5, "a>b b>a d>e e>d c>d"), "aba ded ");
    CHECK_STR(cycles_of(3, "a>b b>c c>a"), "abca ");
    CHECK_STR(cycles_of(4, "a>b b>c c>d d>a c>a"), "abca "); /* the shortest of the set */
    CHECK_STR(cycles_of(4, "a>b b>c c>b c>d"),
              "bcb "); /* nothing of what stands before or behind */
}

TEST_MAIN()
