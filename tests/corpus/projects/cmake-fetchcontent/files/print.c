#include <stdio.h>
#include "cJSON.h"

int main(void)
{
    puts(cJSON_Print(cJSON_Parse("{\"hermetic\": true}")));
    return 0;
}
