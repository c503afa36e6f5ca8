/* Declarations of the bench's event engine, read both by the C compiler and by cffi: only
 * plain declarations here, no preprocessor. */
const char *sim_kernels_version(void);
