/*
 * The vector types of CUDA with their alignment, for C and C++, and dim3.
 */
#ifndef EMU_VECTOR_TYPES_H
#define EMU_VECTOR_TYPES_H

#define EMU_VECTOR(type, name, align2, align4)                                                     \
    typedef struct name##1 {                                                                       \
        type x;                                                                                    \
    }                                                                                              \
    name##1;                                                                                       \
    typedef struct name##2 {                                                                       \
        type x, y;                                                                                 \
    }                                                                                              \
    __attribute__((aligned(align2))) name##2;                                                      \
    typedef struct name##3 {                                                                       \
        type x, y, z;                                                                              \
    }                                                                                              \
    name##3;                                                                                       \
    typedef struct name##4 {                                                                       \
        type x, y, z, w;                                                                           \
    }                                                                                              \
    __attribute__((aligned(align4))) name##4;

EMU_VECTOR(signed char, char, 2, 4)
EMU_VECTOR(unsigned char, uchar, 2, 4)
EMU_VECTOR(short, short, 4, 8)
EMU_VECTOR(unsigned short, ushort, 4, 8)
EMU_VECTOR(int, int, 8, 16)
EMU_VECTOR(unsigned int, uint, 8, 16)
EMU_VECTOR(long long, longlong, 16, 16)
EMU_VECTOR(unsigned long long, ulonglong, 16, 16)
EMU_VECTOR(float, float, 8, 16)
EMU_VECTOR(double, double, 16, 16)
#undef EMU_VECTOR

typedef struct dim3 {
    unsigned int x, y, z;
#ifdef __cplusplus
    constexpr dim3(unsigned int x_ = 1, unsigned int y_ = 1, unsigned int z_ = 1)
        : x(x_), y(y_), z(z_) {
    }
    constexpr operator uint3() const {
        return uint3{x, y, z};
    }
#endif
} dim3;

#endif
