/* SPDX-License-Identifier: MPL-2.0 */
#pragma once
/* cmocka with the headers that it needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
