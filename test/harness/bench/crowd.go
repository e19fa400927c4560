package main

func (b *bench) crowd() {}
