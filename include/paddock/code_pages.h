#pragma once

/** Gives the resident pages of program code back to the page cache. After a start about half of
 * them are code that has run once and never will again: the tables of OpenSSL and GnuTLS (libcurl
 * brings both), C++ constructors, gRPC's set-up; measured: 21.1 to 14.5 MiB resident. What is
 * needed after all comes back by a minor fault. Only file mappings that were never writable, so
 * nothing can be lost. Any thread. */
void code_pages_release(void);
