#include <string.h>

#include "core.h"

int main(void) { return strcmp(pl_strerror(PL_OK), "ok") != 0; }
