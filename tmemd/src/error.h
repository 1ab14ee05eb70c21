/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why something was refused, as one line for people: place, value, remedy.
 *
 * Threading: any thread; the text is the caller's.
 */
#ifndef TMEMD_ERROR_H
#define TMEMD_ERROR_H

/** Room for a text. */
#define TMEMD_ERROR_MAX 512u

/** What to say when there is no further thread: -EAGAIN. */
#define TMEMD_NO_THREAD                                                        \
	"cannot start a thread: let the user of tmemd have more processes (TasksMax=, LimitNPROC=, ulimit -u)"

/** Write a text of TMEMD_ERROR_MAX bytes. */
void tmemd_error_write(char *error, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** Write a text and be code (-errno, taken first), so that a function can end
 * with it. A macro, so that whoever reads the caller, man or analyser, sees the
 * code. */
#define tmemd_error(error, code, ...)                                          \
	({                                                                     \
		int error_code = (code);                                       \
		tmemd_error_write((error), __VA_ARGS__);                       \
		error_code;                                                    \
	})

#endif
