# Cross-builds for arm64 with Debian's gcc-aarch64-linux-gnu and the libraries that packaging/sysroot fetched.
# SYSROOT names that folder; without it, build/sysroot-arm64.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)

list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES SYSROOT)
set(SYSROOT ${CMAKE_CURRENT_LIST_DIR}/../build/sysroot-arm64 CACHE PATH "what packaging/sysroot filled")
get_filename_component(sysroot "${SYSROOT}" ABSOLUTE)
set(CMAKE_SYSROOT ${sysroot})
set(CMAKE_FIND_ROOT_PATH ${sysroot})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
# libstdc++, which gRPC's static library needs. The compiler looks for it in its own folder only.
file(GLOB libstdcxx ${sysroot}/usr/lib/gcc/aarch64-linux-gnu/*/libstdc++.so)
get_filename_component(libstdcxx "${libstdcxx}" DIRECTORY)
set(CMAKE_EXE_LINKER_FLAGS_INIT "-L${libstdcxx}")

set(ENV{PKG_CONFIG_SYSROOT_DIR} ${sysroot})
set(ENV{PKG_CONFIG_LIBDIR} ${sysroot}/usr/lib/aarch64-linux-gnu/pkgconfig:${sysroot}/usr/lib/pkgconfig:${sysroot}/usr/share/pkgconfig)
set(ENV{SYSROOT_ADMINDIR} ${sysroot}/var/lib/dpkg)

# EMULATED: programs find their libraries in the sysroot themselves, so that they run under user-mode emulation. The
# emulator's own switch for that (-L) would also lead a test that opens "/" into the sysroot.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES EMULATED)
option(EMULATED "build for user-mode emulation on this machine" OFF)
if(EMULATED)
    find_program(QEMU_AARCH64 NAMES qemu-aarch64-static qemu-aarch64 REQUIRED)
    set(CMAKE_CROSSCOMPILING_EMULATOR ${QEMU_AARCH64})
    string(APPEND CMAKE_EXE_LINKER_FLAGS_INIT " -Wl,--dynamic-linker=${sysroot}/lib/ld-linux-aarch64.so.1"
        " -Wl,--disable-new-dtags,-rpath,${sysroot}/lib/aarch64-linux-gnu:${sysroot}/usr/lib/aarch64-linux-gnu")
endif()
