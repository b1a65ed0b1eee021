#include <stdio.h>
#include "xxhash.h"

int main(int count, char **names)
{
    static char data[1 << 20];
    FILE *file = count > 1 ? fopen(names[1], "rb") : stdin;
    size_t size = file ? fread(data, 1, sizeof data, file) : 0;
    printf("%016llx\n", (unsigned long long)XXH64(data, size, 0));
    return !size;
}
