/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which sanitizer a test is built with, as gcc and clang say it: TEST_ASAN and
 * TEST_TSAN are 0 or 1.
 */
#ifndef TEST_SANITIZER_H
#define TEST_SANITIZER_H

#ifdef __has_feature
#define TEST_ASAN __has_feature(address_sanitizer)
#define TEST_TSAN __has_feature(thread_sanitizer)
#else
#ifdef __SANITIZE_ADDRESS__
#define TEST_ASAN 1
#else
#define TEST_ASAN 0
#endif
#ifdef __SANITIZE_THREAD__
#define TEST_TSAN 1
#else
#define TEST_TSAN 0
#endif
#endif

#endif
