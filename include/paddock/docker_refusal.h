#pragma once
#include <stdbool.h>

/** True when @text, the text of an error of Docker's, shows that repeating the request cannot help:
 * a value of the job is refused. Context: pure, any thread. */
bool docker_refusal_is_final(const char *text);
