/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* cmocka with what it needs in front of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
